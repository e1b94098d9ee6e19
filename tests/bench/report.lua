-- Prints what wrk saw as one line of JSON.
function done(summary, latency, requests)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\n{"answered": %d, "seconds": %.6f, "p99": %.6f, "bad": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e6, bad))
end
