-- Asks for short codes by Zipf's law (the n-th line of the file with a share of 1/n). The argument is the file.
local here = debug.getinfo(1, "S").source:match("^@(.*/)")
dofile(here .. "report.lua")
local requests, sums = {}, {}

function init(args)
  math.randomseed(os.time())
  local sum = 0
  for code in io.lines(args[1]) do
    requests[#requests + 1] = "GET /" .. code .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n\r\n"
    sum = sum + 1 / #requests
    sums[#sums + 1] = sum
  end
end

function request()
  local wanted = math.random() * sums[#sums]
  local low, high = 1, #sums
  while low < high do
    local middle = math.floor((low + high) / 2)
    if sums[middle] < wanted then low = middle + 1 else high = middle end
  end
  return requests[low]
end
