-- Asks for links at random: code00000000, code00000001, ... as many as the first argument says.
local count
function init(args)
  count = tonumber(args[1]) or 1
  math.randomseed(tonumber(args[2]) or 1)
end
function request()
  return wrk.format("GET", string.format("/code%08d", math.random(0, count - 1)))
end
