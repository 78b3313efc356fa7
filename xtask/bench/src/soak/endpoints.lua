-- Most GETs of the service and of the admin API: without single plugins, source lines and docs. The
-- cheap ones are more frequent, so that millions
-- of requests fit into minutes.
local paths = {}
local function add(times, path)
  for _ = 1, times do
    paths[#paths + 1] = path
  end
end

add(400, "/api/data")
add(400, "/health")
add(20, "/admin/leaks/status")
add(5, "/admin/catalogue")
add(5, "/admin/exercises")
add(2, "/admin/scenario")
add(20, "/admin/leaks/cache")
add(10, "/metrics")
add(5, "/admin/memory")
add(5, "/admin/memory/snapshot")
add(2, "/admin/memory/diff?since=1m")
add(2, "/admin/memory/history")
add(2, "/admin/memory/baselines")
add(2, "/admin/plugins")
add(2, "/admin/plugins/history")
add(1, "/admin/memory/flamegraph")
add(1, "/debug/pprof/heap")
add(1, "/debug/pprof/allocs")
add(1, "/admin/post-mortem")
add(1, "/openapi.json")

-- Shuffled, so that the connections do not request the same path at the same time.
math.randomseed(1)
for i = #paths, 2, -1 do
  local j = math.random(i)
  paths[i], paths[j] = paths[j], paths[i]
end

local next = 0

function request()
  next = next % #paths + 1
  return wrk.format("GET", paths[next])
end
