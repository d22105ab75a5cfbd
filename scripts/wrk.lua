-- Has wrk ask a proxy: requests are in absolute-form, for the URL behind `--`.
--
--   wrk -t2 -c100 -d10s -s scripts/wrk.lua http://127.0.0.1:8888 -- http://127.0.0.1:8000/
function init(args)
    local url = args[1] or error("expected the URL to ask for behind --")
    wrk.path = url
    wrk.headers["Host"] = url:match("^http://([^/]+)") or error("expected http://HOST/PATH")
end
