-- Asks for each short code once, in order, and then for the last one again and again. The argument is a file of codes.
local here = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(here .. "report.lua")
local requests, next_one = {}, 0

function init(args)
  for code in io.lines(args[1]) do
    requests[#requests + 1] = "GET /" .. code .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n\r\n"
  end
end

function request()
  next_one = math.min(next_one + 1, #requests)
  return requests[next_one]
end
