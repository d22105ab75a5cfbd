# bash completion for weir(1).                              -*- shell-script -*-
# Written by tests/packaging from the table of options.
# shellcheck shell=bash

_weir() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
    if [[ $previous == '=' ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $current == '=' ]]; then
        current=
    fi
    COMPREPLY=()
    case $previous in
        -c|--config|--pid-file|--control|--take-over|--blocklist|--blacklist|--allowlist|--whitelist|--auth-file|--guard|--gateway|--cache-rules|--cache-file|--purge-token-file)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return ;;
        --cloud-ranges|--log-dir)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return ;;
        --log-format)
            mapfile -t COMPREPLY < <(compgen -W 'weir combined squid json none' -- "$current")
            return ;;
        --context)
            mapfile -t COMPREPLY < <(compgen -W 'query path header body' -- "$current")
            return ;;
        --host|-p|--port|--workers|--user|--stats-every|--metrics|--block|--allow|--allow-client|--contact|--error-page|--connect-ports|--ports|--log-max-size|--log-keep|--timeout|--connect-timeout|--head-timeout|--idle-timeout|--tunnel-timeout|--idle-origin-timeout|--origin-lifetime|--drain-timeout|--min-rate|--memory|--max-connections|--max-per-client|--client-prefix6|--buffers|--head-max|--target-max|--fields-max|--idle-origins|--idle-per-origin|--via|--forwarded|--remove-header|--add-header|--remove-response-header|--add-response-header|--dns|--cache-size|--cache-max-object|--cache-heuristic-max|--cache-negative-ttl|--cache-targeted|--purge-from|--client)
            return ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--host --port --workers --config --user --pid-file --sandbox --no-splice --stats-every --control --take-over --metrics --check --print-config --verbose --quiet --version --help --blocklist --blacklist --allowlist --whitelist --block --allow --allow-client --deny-private --judge-cnames --quiet-refusals --contact --error-page --connect-ports --ports --auth-file --guard --gateway --cloud-ranges --proxy-protocol --log-dir --log-format --log-tunnel-start --log-max-size --log-keep --timeout --connect-timeout --head-timeout --idle-timeout --tunnel-timeout --idle-origin-timeout --origin-lifetime --drain-timeout --min-rate --memory --max-connections --max-per-client --client-prefix6 --buffers --head-max --target-max --fields-max --idle-origins --idle-per-origin --no-origin-form --strict-targets --accept-bare-lf --via --forwarded --anonymous --remove-header --add-header --remove-response-header --add-response-header --dns --dns-0x20 --cache --cache-size --cache-max-object --cache-heuristic-max --cache-negative-ttl --cache-targeted --no-cache-status --cache-rules --cache-file --purge-from --purge-token-file --json --follow --openmetrics --client --context' -- "$current")
    elif [[ $COMP_CWORD == 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'explain detect reload ctl help' -- "$current")
    elif [[ $command == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'start config rules guard gateway users pages log metrics timeouts limits messages cache reload upgrade ctl signals detect explain features all host port workers user pid-file sandbox no-splice stats-every control take-over check print-config verbose quiet version help blocklist allowlist block allow allow-client deny-private judge-cnames quiet-refusals contact error-page connect-ports ports auth-file cloud-ranges proxy-protocol log-dir log-format log-tunnel-start log-max-size log-keep timeout connect-timeout head-timeout idle-timeout tunnel-timeout idle-origin-timeout origin-lifetime drain-timeout min-rate memory max-connections max-per-client client-prefix6 buffers head-max target-max fields-max idle-origins idle-per-origin no-origin-form strict-targets accept-bare-lf via forwarded anonymous remove-header add-header remove-response-header add-response-header dns dns-0x20 cache-size cache-max-object cache-heuristic-max cache-negative-ttl cache-targeted no-cache-status cache-rules cache-file purge-from purge-token-file json follow openmetrics client context' -- "$current")
    elif [[ $command == ctl ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'ban bans drain drain-upstream enable-upstream events limits purge reload stats unban unblock upstreams' -- "$current")
    fi
}
complete -F _weir weir
