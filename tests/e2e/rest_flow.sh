#!/usr/bin/env bash
# The shell flow of a REST client; GATEWAY and REDIRECT are HOST:PORT of a running server.
set -euo pipefail
api="http://$GATEWAY/api"
post() { curl -sS -X POST -H 'Content-Type: application/json' "${@:3}" -d "$2" "$api$1"; }
for name in ann bob; do
  post /auth/register "{\"email\": \"$name@example.com\", \"password\": \"secret-$name\", \"name\": \"$name\"}" | jq -e .user_id >/dev/null
done
ann=$(post /auth/login '{"email": "ann@example.com", "password": "secret-ann"}' | jq -er .token)
bob=$(post /auth/login '{"email": "bob@example.com", "password": "secret-bob"}' | jq -er .token)

code=$(post /urls '{"long_url": "https://example.com/a?b=%2f~"}' -H "Authorization: Bearer $ann" | jq -er .short_code)
post /urls/custom '{"alias": "Anns-Link", "long_url": "https://example.com/ann"}' -H "Authorization: Bearer $ann" | jq -e .short_url >/dev/null
post /urls/custom '{"alias": "bobs_link", "long_url": "https://example.com/bob"}' -H "Authorization: Bearer $bob" | jq -e .short_url >/dev/null

get() { curl -sS -H "Authorization: Bearer $2" "$api$1"; }
echo "ann: $(get /urls "$ann" | jq -c '[.total, .has_more, (.urls | map(.long_url))]')"
echo "bob: $(get /urls "$bob" | jq -c '[.total, .has_more, (.urls | map(.long_url))]')"
echo "none: $(curl -sS -o /dev/null -w '%{http_code} %{content_type}' "$api/urls")"
echo "not bob's: $(get "/urls/$code" "$bob" | jq -c '[.status, .title]')"
echo "taken: $(post /urls/custom '{"alias": "Anns-Link", "long_url": "https://example.com/"}' -H "Authorization: Bearer $bob" | jq -c '[.status, .field, (.suggestions | length)]')"

echo "redirect: $(curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' "http://$REDIRECT/$code")"
echo "head: $(curl -sSI "http://$REDIRECT/$code" | tr -d '\r' | grep -i '^location')"
sleep 1
echo "clicks: $(get "/urls/$code" "$ann" | jq -c '[.url.clicks, .found]')"
echo "stats: $(get "/urls/$code/stats" "$ann" | jq -c '[.total_clicks, .unique_visitors, .referrers[0].referer]')"
echo "delete: $(curl -sS -X DELETE -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $ann" "$api/urls/$code")"
echo "gone: $(curl -sS -o /dev/null -w '%{http_code}' "http://$REDIRECT/$code")"
echo "deleted: $(get "/urls/$code" "$ann" | jq -c .status)"
