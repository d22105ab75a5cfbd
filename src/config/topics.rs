//! The topics of `weir help`, for explanations that are too long for an option. Options are added from the table.

use super::feature;
use super::spec::Section;

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// The name in `weir help NAME`.
    pub name: &'static str,
    /// The title in the list of topics.
    pub title: &'static str,
    /// The text, in lines of at most 79 columns.
    pub text: &'static str,
    /// The options of the topic.
    pub section: Option<Section>,
    /// Further options that the topic explains.
    pub others: &'static [&'static str],
}

/// The topic of that name.
pub fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// All topics, in the order in which they are listed.
pub static TOPICS: &[Topic] = &[
    Topic {
        name: "start",
        title: "listening, loops, users of the system, what weir says about itself",
        text: "
  weir                                     serves programs of this machine
  weir --host :: --allow-client 10.0.0.0/8 serves a network
  weir -c /etc/weir/weir.conf --check      reports errors, starts nothing

Started as root, weir binds its port, changes to --user, and then keeps only the
rights that it needs. packaging/systemd has a unit for systemd.
",
        section: Some(Section::General),
        others: &[],
    },
    Topic {
        name: "config",
        title: "the configuration file, environment variables, their precedence",
        text: "\
Every option can be set in three places. The command line overrides the
environment, which overrides the file, which overrides the default:

  weir --max-per-client 50               on the command line
  WEIR_MAX_PER_CLIENT=50                 in the environment
  max-per-client 50                      in the file that --config names

A file has one `key value` per line. # begins a comment at the start of a line
or after a blank. Values with such a # or with blanks around them go \"in
quotes\". Options without a value take yes or no, on the command line as in
--quiet=no. A value that is an option or -- itself needs the =, too:
--via=-p80. Paths are relative to the file. Sizes: 64K, 10M, 1G. Times: 30 or
2.5 (seconds), 500ms, 2m, 1h.

--print-config prints such a file, with the place that each value came from.
--check reports all errors in settings and files, and what else would make the
start fail: as root, with the rights of --user. It does not listen and creates
nothing: a port in use, files that another weir has, and a full disk are no
errors for it. For a key of tinyproxy, or a common one of Squid, the error names
weir's option.
",
        section: None,
        others: &["config", "check", "print-config"],
    },
    Topic {
        name: "rules",
        title: "allowed destinations and clients: blocklists, allowlists, ports",
        text: "\
A rule is one line of a --blocklist or --allowlist file, or the value of --block
or --allow:

  ads.example             exactly this host
  *.tracker.example       every name below it, not itself
  .malware.example        itself and every name below it
  192.0.2.0/24            a network or address, also for what names resolve to
  mail.example:25         only this port; or some: 6000-6999
  0.0.0.0 pixel.example   a line of a hosts file
  ||banner.example^       a line of an ad blocker's list

Lines of an ad blocker's list that only a browser can apply are skipped, and
counted in one line of the log. In weir's own lists unknown lines are errors.

The order is: block rules, allow rules, the built-in block (this machine,
link-local addresses, multicast, weir itself). Everything else is allowed, or
refused if there is an allowlist. A name is judged before it is looked up, and
each of its addresses afterwards. `weir explain URL` prints the verdict and its
rule.
",
        section: Some(Section::Access),
        others: &[],
    },
    Topic {
        name: "guard",
        title: "limits, bans, clouds, and whose request it is",
        text: feature::GUARD.text(
            "
  weir --guard guard.conf --check    reports all errors of the file
  weir explain URL --guard guard.conf --client 192.0.2.1

One directive per line; config/guard.conf shows each, docs/guard.md explains it:

  trust 10.0.0.0/8                   proxies whose X-Forwarded-For counts
  exempt 192.0.2.0/24                never limited; bans still hold
  limit 600/1m per client            429 beyond; per user, host, path, method
  escalate 50/1m block 15m after 3   blocks who goes on
  ban 203.0.113.0/24 for 7d          403
  ban-file bans.txt                  plain, or of fail2ban or CrowdSec
  ban-after limit 20 in 10m for 1h   bans who goes over limits too often
  cloud deny client aws,gcp          fetched, and kept in --cloud-ranges DIR
  cloud refresh off                  files of that directory only
  store redis://127.0.0.1:6379       counts for several machines together
  events FILE mute rate_limited      types that `weir ctl events` leaves out
  guard-keys 100000                  counted keys at most; needs a restart
  bans-max 1000000                   bans at most
  rate-limit-fields                  tells clients what is left
  passive                            refuses nothing; or observe in one line

A refusal names its line, as in rate_limit:guard:4, in the log and to the
client. HUP reads the file again, and what was counted stays. `weir ctl` bans,
ends bans and shows limits and events (weir help ctl).
",
        ),
        section: None,
        others: &["guard", "cloud-ranges", "proxy-protocol", "control"],
    },
    Topic {
        name: "gateway",
        title: "weir before servers of your own",
        text: feature::GUARD.text(
            "
  weir --gateway gateway.conf --check    reports all errors of the file
  weir explain URL --gateway gateway.conf    its route, or why it is refused

One route per line; config/gateway.conf shows all, docs/gateway.md explains it:

  app.example/api/ -> 10.0.0.1:9000 10.0.0.2:9000 weight 2 10.0.0.9:9000 backup
  *:8080/ -> backend.internal:8080   any host, with this port

Options behind the upstreams:

  round-robin, least, hash-client    how requests are shared out
  health GET /healthz every 5s       checks; timeout 2s, rise 1, fall 2, and
                                     status 200-399 behind it
  host keep|rewrite                  the Host of the client, or of the upstream
  strip /api                         taken off the path
  down-after 3 in 10s for 10s        failures that mark an upstream down; never
  fail-on connect,reset,timeout,503  which failures count
  retries 1                          further upstreams that are tried
  slow-start 10s                     for one that has come back; off

  listen 127.0.0.1:8080              the gateway's own listeners; without such a
                                     line all listeners are the gateway's
  underscores allow                  pass fields with one in their name

A host without a route is answered 421, a path without one 404, and a path that
means two things 400. `weir ctl` shows, drains and enables upstreams.

With listen lines `weir explain` takes those URLs for the gateway's whose host,
or port as in *:8080/, a route names.
",
        ),
        section: None,
        others: &["gateway", "control"],
    },
    Topic {
        name: "users",
        title: "names and passwords that clients must give",
        text: "\
--auth-file names a file with one `name:password` per line. A hash is better
than a password. These programs make hashes:

  htpasswd -nB alice      bcrypt:        alice:$2y$...
  openssl passwd -6       SHA-512-crypt: alice:$6$...

  curl -x http://alice:secret@127.0.0.1:8888 http://a.example/

Basic authentication sends passwords in readable form: use it in networks that
you trust. weir forwards no password and writes none to a log. A client may try
64 wrong passwords and one more each second, then it gets 429; credentials that
were right within the last hour still work. --allow-client is checked first: any
other client gets 403, whatever the request and the password.
",
        section: None,
        others: &["auth-file", "allow-client"],
    },
    Topic {
        name: "pages",
        title: "the answers to refused clients, and pages of your own for them",
        text: "\
A refused client learns why, and by which rule: a browser by a page, other
clients by text. --contact adds a contact:

  --contact 'help desk, extension 4711'

--error-page STATUS=FILE replaces weir's own page, for one status (403, 407,
502, ...) or for a class (4xx, 5xx), in HTML (.html), text (.txt) or JSON
(.json). If a status has several pages, browsers get the HTML one, and other
clients another one.

  --error-page 403=blocked.html --error-page 5xx=trouble.html

Placeholders; values are escaped for HTML or JSON, and cut where they are long:

  {{status}} {{title}}   403, Forbidden
  {{explanation}}        what happened
  {{advice}}             what to do about it
  {{reason}} {{rule}}    the rule's file and line, or a word for the error; and
                         what the rule says
  {{method}} {{url}} {{host}}
                         the request
  {{client}} {{user}}    the client's address, and its user, if that is known
  {{time}}               when, in GMT
  {{contact}} {{proxy}}  what --contact and --via say

Write them between tags or within a quoted attribute; in JSON between quotes.
Scripts of a page do not run; styles, pictures and fonts may be loaded. A file
has 64 KB at most. --check, the start and HUP report errors in it.
",
        section: None,
        others: &["contact", "error-page", "quiet-refusals"],
    },
    Topic {
        name: "log",
        title: "the access log: where it goes, its formats, its rotation",
        text: "\
One line per request and tunnel, on standard output or in access.log in
--log-dir. In the format weir:

  TIME exchange VERDICT STATUS METHOD URL client= user= received= sent= ms= ...

VERDICT is allowed, refused, malformed or failed; reason= names the rule or the
error. ms= is the whole time in milliseconds. These are its parts, or - where
there was none (HAProxy has Tw/Tc/Tr/Ta for dns_ms=, connect_ms=, ttfb_ms= and
ms=):

  dns_ms      looking up the name; 0.000 if the answer was known
  connect_ms  connecting to the origin; - with a reused connection
  ttfb_ms     from then to the first byte of the response; for a cache hit
              to its beginning; for CONNECT to its 200

A tunnel has one line, at its end. --log-tunnel-start adds one at its beginning,
which begins with `TIME tunnel-start`.

json has all of this as one object per line. combined is the format of Apache
and nginx, squid the format of Squid (_ABORTED: the client left, or the response
was incomplete); these two have no place for the parts. none writes nothing.
kill -USR1 opens access.log again by its name, for programs that rename it.
",
        section: Some(Section::Log),
        others: &["stats-every", "verbose", "quiet"],
    },
    Topic {
        name: "metrics",
        title: "numbers for a monitoring system",
        text: feature::ADMIN.text(
            "
  weir --metrics 127.0.0.1:9100
  curl http://127.0.0.1:9100/metrics

  /metrics    everything that the line of statistics has, and histograms of
              times, as OpenMetrics text; in Prometheus' older form for a client
              that accepts text/plain only. Numbers of all loops are added up.
  /healthz    200 while the loops turn, else 503
  /readyz     200 while weir takes connections; 503 until it listens, and while
              it finishes what is under way at a stop

It answers every client that can reach the address, without a password.
",
        ),
        section: None,
        others: &["metrics", "stats-every"],
    },
    Topic {
        name: "timeouts",
        title: "how long weir waits, and for what",
        text: "\
Times are seconds (30, 2.5) or have a unit (500ms, 2m, 1h). A connection that is
silent for too long is closed, and so is a client that sends or reads a body too
slowly (--min-rate).
",
        section: Some(Section::Timeouts),
        others: &[],
    },
    Topic {
        name: "limits",
        title: "how much clients and origins may use",
        text: "\
Limits apply to all loops together. A connection or request over a limit is
refused, and counted in the statistics (limit_...).

  --memory 16M                           for the whole process, by one number
  --memory 16M --cache --cache-size 4M   what is set stays, the rest is shared

With --memory, buffers, connections, idle origins, the cache, the tables of the
guard and the resolver, and what waits for the log are sized from it, in place
of their defaults. --print-config shows what they come to; --check tells the
smallest size that works. docs/limits.md has the rest.
",
        section: Some(Section::Limits),
        others: &[],
    },
    Topic {
        name: "messages",
        title: "header fields, request forms, name servers",
        text: "\
What weir accepts from clients and origins, what it writes into requests and
responses, and how it resolves names. An added field replaces all received
fields of its name, unless it is appended:

  --add-header 'X-From: weir'             the origin sees this and no other
  --add-header 'append X-From: weir'      and the client's fields, too
  --add-header 'X-From: weir if .a.test'  only for these hosts

Bytes beyond ASCII in URLs are forwarded unchanged, and percent-encoded in logs;
--strict-targets answers 400 to them. ws:// is http://. https:// and wss:// need
CONNECT: clients send it if they know the proxy for https, too (https_proxy).
",
        section: Some(Section::Messages),
        others: &[],
    },
    Topic {
        name: "cache",
        title: "keeping responses and answering from them",
        text: feature::CACHE.text(
            "\
Off, unless --cache switches it on. weir then stores in memory what RFC 9111
allows a shared cache. The log has the result: cache=hit, miss, stale,
revalidated, collapsed, bypass or refresh. With --purge-from:

  curl -x http://127.0.0.1:8888 -X PURGE http://a.example/page
  curl -x http://127.0.0.1:8888 -X PURGE -H 'Purge: host' http://a.example/
  curl -x http://127.0.0.1:8888 -X PURGE -H 'Purge: all' http://a.example/

PURGE with Origin, Referer or a field that begins with Sec- is refused: a page
made a browser send it. With --purge-token-file it needs a token as well:

  curl -x ... -X PURGE -H 'Purge-Token: ...' http://a.example/page
",
        ),
        section: Some(Section::Cache),
        others: &[],
    },
    Topic {
        name: "reload",
        title: "reading the configuration again while weir runs",
        text: "
  kill -HUP PID                       the log has the result
  weir reload --pid-file FILE         the exit code tells the result, too
  systemctl reload weir               the same, with the unit of packaging/

weir reads the configuration file and every file that it names again; the
command line and variables still override them. Everything is checked first: if
there is an error, nothing changes, and the log has every error with file and
line. Requests under way keep the old settings; new connections and requests get
the new ones. Some options need a restart; the log then says `needs a restart`
and names them (and --memory, if what it divides cannot shrink):
",
        section: None,
        others: &["pid-file"],
    },
    Topic {
        name: "upgrade",
        title: "a new weir in place of the running one, without a refused connection",
        text: feature::ADMIN.text(
            "
  weir -c weir.conf --control /run/weir/a             runs
  weir -c weir.conf --control /run/weir/b --take-over /run/weir/a
                                                      takes over from it

The new weir takes the listening sockets of the old one, and with them the
connections that wait. As soon as it serves, the old one drains as with the
signal TERM: it finishes what is under way, and ends. If the new one fails
before, for instance at its configuration, the old one goes on. Until the old
one has ended both run, so each needs a --control, --pid-file, --cache-file and
--metrics of its own. The new one needs at least as many --workers.

A service manager that passes sockets (LISTEN_FDS; systemd: weir.socket) does
the same: start the new weir with the sockets of the old one, then send TERM to
the old one.
",
        ),
        section: None,
        others: &["take-over", "control", "drain-timeout"],
    },
    Topic {
        name: "ctl",
        title: "commands to a running weir",
        text: feature::ADMIN.text(
            "
  weir --control /run/weir/control            listens for commands
  weir ctl --control /run/weir/control stats  asks it

  stats             the numbers; --openmetrics: as for a monitoring system
  reload            reads configuration and files again, and tells the result
  drain             stops, as the signal TERM does
  ban ADDRESS|NETWORK [for DURATION] [reason TEXT]
  unban ADDRESS|NETWORK
  bans              all bans
  limits ADDRESS    what is counted of a client
  unblock ADDRESS   ends the block of a client
  events            what the guard did lately; --follow: goes on as it does more
  upstreams         how it is with each upstream of the gateway
  drain-upstream HOST:PORT, enable-upstream HOST:PORT
  purge URL         removes stored responses; also: purge host HOST[:PORT],
                    purge all

It answers while weir is busy. The socket is for the user of weir and for root;
the log has each change, with the number of the user who asked. Exit codes: 0
done; 1 refused, or there is no such ban; 64 the command is wrong; 69 no weir
listens there; 71 the system refuses; 78 the configuration to reload is wrong.
",
        ),
        section: Some(Section::Control),
        others: &["control"],
    },
    Topic {
        name: "signals",
        title: "signals that a running weir obeys, and its exit codes",
        text: "
  HUP     reads the configuration and all files again (weir help reload)
  USR1    opens access.log again by its name
  USR2    writes a line of statistics to standard error
  TERM    accepts nothing new, finishes requests under way, after
          --drain-timeout closes the rest, saves --cache-file; exit code 0
  INT     stops at once, as QUIT and a second TERM do; exit code 130, 131 or 143

Exit codes of all commands:
  0       done; explain: allowed; reload: reloaded
  1       explain: refused, the name has no address, or the URL is malformed;
          detect: an attack; ctl: refused, or there is no such ban
  64      the command line is wrong
  69      cannot listen: the address is in use, or is not this machine's;
          another weir has the pid file or the cache file;
          reload: no weir runs by that pid file; ctl: none has that socket
  71      the system refuses something else that weir needs
  78      the configuration, or a file that it names, is wrong
",
        section: None,
        others: &["drain-timeout", "stats-every"],
    },
    Topic {
        name: "detect",
        title: "what detection finds in a text, and by which pattern",
        text: feature::DETECTION.text(
            "
  weir detect \"' OR 1=1--\"                     as the value of a parameter
  weir detect --context path /a/../../etc/passwd
  weir detect --context body - <upload.txt      what standard input has
  weir detect --guard guard.conf TEXT           with the patterns of this file

A line for each signature that is found: category, name, in which view of the
text (raw, decoded, processed, unquoted), its score, and the place. A text is
an attack if its scores together are 1.00 or more. A false positive is silenced
by a line of the guard file: detect allow sqli path /search param q. Exit code
0: no attack; 1: an attack, or more than is looked at. See docs/detection.md.
",
        ),
        section: Some(Section::Detect),
        others: &[],
    },
    Topic {
        name: "explain",
        title: "what weir would do with a request, and by which rule",
        text: "
  weir explain https://a.example/               is it allowed?
  weir explain -c weir.conf http://a.example/   by the rules of this file
  weir explain POST http://a.example/           by another method than GET
  weir explain CONNECT a.example                to port 443, as for https
  weir explain --user alice --client 10.0.0.7 http://a.example/

An https URL is judged as the CONNECT that clients make of it. Names are looked
up, and each of their addresses is judged. Nothing is sent to any of them. Exit
code 0: it is allowed; 1: it is refused, or the name has no address.
",
        section: Some(Section::Explain),
        others: &[],
    },
];
