-- Asks for random short codes, each as likely as any other. The argument is a file with one on each line.
local here = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(here .. "report.lua")
local requests = {}

function init(args)
  math.randomseed(os.time())
  for code in io.lines(args[1]) do
    requests[#requests + 1] = "GET /" .. code .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n\r\n"
  end
end

function request()
  return requests[math.random(#requests)]
end
