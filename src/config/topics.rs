//! The topics of `weir help`, for explanations that are too long for an option. Options are added from the table.

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
  weir --host :: --allow-client 10.0.0.0/8 serves others, too
  weir -c /etc/weir/weir.conf --check      tells what is wrong, starts nothing

Started as root, weir binds its port, becomes --user, and then keeps only the
rights that it needs. config/weir.service is a unit for systemd.
",
        section: Some(Section::General),
        others: &[],
    },
    Topic {
        name: "config",
        title: "the configuration file, environment variables, which of them counts",
        text: "\
Every option can be set in three places. The command line beats the
environment, that beats the file, that beats the default:

  weir --max-per-client 50               on the command line
  WEIR_MAX_PER_CLIENT=50                 in the environment
  max-per-client 50                      in the file that --config names

A file has one `key value` per line. # begins a comment at the start of a line
or after a blank. Values with such a # or with blanks around them go \"in
quotes\". Options without a value take yes or no. Paths are relative to the
file. Sizes: 64K, 10M, 1G. Times: 30 or 2.5 (seconds), 500ms, 2m, 1h.

--print-config prints such a file, with the place that each value came from.
--check says everything at once that is wrong with settings and files, and
what the start would fail at: as root, with the rights of --user. It listens to
nobody, and does not mind a port in use. Keys of tinyproxy and Squid are
answered with what weir has in their place.
",
        section: None,
        others: &["config", "check", "print-config"],
    },
    Topic {
        name: "rules",
        title: "who may go where: blocklists, allowlists, ports, clients",
        text: "\
A rule is one line of a --blocklist or --allowlist file, or the value of --block
or --allow:

  ads.example             exactly this host
  *.tracker.example       every name below it, not itself
  .malware.example        itself and every name below it
  192.0.2.0/24            a network or one address, also for what names lead to
  mail.example:25         only this port; or some: 6000-6999
  0.0.0.0 pixel.example   a line of a hosts file
  ||banner.example^       a line of an ad blocker's list

Of an ad blocker's list, lines that only a browser can carry out are skipped,
and counted in one line of the log. In weir's own lists mistakes are errors.

What is blocked stays blocked, whatever allows it. What is allowed comes next;
then what is refused unless it is allowed: this machine, link-local addresses,
multicast, weir itself. Everything else is allowed, or if there is an allowlist
refused. A name is judged before it is looked up, and each of its addresses
afterwards. `weir explain URL` says what holds, and by which rule.
",
        section: Some(Section::Access),
        others: &[],
    },
    Topic {
        name: "users",
        title: "names and passwords that clients must give",
        text: "\
--auth-file names a file with one `name:password` per line. Better than
passwords are their hashes, as these make them:

  htpasswd -nB alice      bcrypt:        alice:$2y$...
  openssl passwd -6       SHA-512-crypt: alice:$6$...

  curl -x http://alice:secret@127.0.0.1:8888 http://a.example/

Basic authentication sends passwords readably: use it in networks that you
trust. weir forwards no password and writes none to a log. A client that tries
more than 64 wrong ones is answered with 429 but for one each second; what was
right within the last hour goes on. --allow-client is judged first: whom it does
not name gets 403, whatever the request and the password.
",
        section: None,
        others: &["auth-file", "allow-client"],
    },
    Topic {
        name: "pages",
        title: "what refused clients are told, and pages of your own for it",
        text: "\
Whoever is refused is told why, and by which rule, in text or, if it is a
browser, as a page. --contact adds whom to turn to:

  --contact 'help desk, extension 4711'

--error-page STATUS=FILE puts a page of yours in the place of weir's own: for
one status (403, 407, 502, ...) or for a class (4xx, 5xx), in HTML (.html), text
(.txt) or JSON (.json). Of several for one status browsers get the HTML one,
all others another one.

  --error-page 403=blocked.html --error-page 5xx=trouble.html

These are filled in, escaped for HTML or JSON, and cut where they are long:

  {{status}} {{title}}   403, Forbidden
  {{explanation}}        what happened
  {{advice}}             what to do about it
  {{reason}} {{rule}}    the rule's file and line, or a word for the error; and
                         what the rule says
  {{method}} {{url}} {{host}}
                         what was asked for
  {{client}} {{user}}    the client's address, and who it is, if that is known
  {{time}}               when, in GMT
  {{contact}} {{proxy}}  what --contact and --via say

Write them between tags or within a quoted attribute; in JSON between quotes.
Scripts of a page do not run; styles, pictures and fonts may be loaded. A file
has 64 KB at most. Mistakes in it are told by --check, at the start and by HUP.
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
error. Of ms=, the time that all of it took, these are parts, each in
milliseconds, or - where there was none (HAProxy has Tw/Tc/Tr/Ta for dns_ms=,
connect_ms=, ttfb_ms= and ms=):

  dns_ms      looking up the name; 0.000 if the answer was known
  connect_ms  connecting to the origin; - if a connection was there already
  ttfb_ms     from then to the first byte of the answer; of one from the
              cache: until it began; of CONNECT: until its 200

A tunnel has one line, when it ends, or with --log-tunnel-start another one when
it begins: that begins with `TIME tunnel-start`.

json has the same in one object per line, combined is what Apache and nginx
write, squid what Squid does (_ABORTED: the client left, or the answer broke
off); these two have no place for the parts. none writes nothing. kill -USR1
opens access.log again by its name, for programs that move it away.
",
        section: Some(Section::Log),
        others: &["stats-every", "verbose", "quiet"],
    },
    Topic {
        name: "timeouts",
        title: "how long weir waits, and for what",
        text: "\
Times are seconds (30, 2.5) or have a unit (500ms, 2m, 1h). Everybody who is
silent for too long is cut off; who moves a body too slowly, too (--min-rate).
",
        section: Some(Section::Timeouts),
        others: &[],
    },
    Topic {
        name: "limits",
        title: "how much clients and origins may use",
        text: "\
Limits hold for all loops together. Whatever is over one is refused, and
counted in the statistics (limit_...).
",
        section: Some(Section::Limits),
        others: &[],
    },
    Topic {
        name: "messages",
        title: "header fields, request forms, name servers",
        text: "\
What weir accepts of clients and origins, what it writes into requests and
responses, and how it resolves names. An added field replaces all that came
under its name, unless it is appended:

  --add-header 'X-From: weir'             the origin sees this and no other
  --add-header 'append X-From: weir'      and whatever the client sent
  --add-header 'X-From: weir if .a.test'  to some hosts; others see what came

Bytes beyond ASCII pass in URLs as they came, and are percent-encoded in logs;
--strict-targets answers 400 to them. ws:// is http://. https:// and wss:// need
CONNECT: clients send it if they know the proxy for https, too (https_proxy).
",
        section: Some(Section::Messages),
        others: &[],
    },
    Topic {
        name: "cache",
        title: "keeping responses and answering from them",
        text: "\
Off, unless --cache switches it on. weir then keeps what RFC 9111 lets a shared
cache keep, in memory. The log says what it did: cache=hit, miss, stale,
revalidated, collapsed, bypass or refresh. With --purge-from:

  curl -x http://127.0.0.1:8888 -X PURGE http://a.example/page
  curl -x http://127.0.0.1:8888 -X PURGE -H 'Purge: host' http://a.example/
  curl -x http://127.0.0.1:8888 -X PURGE -H 'Purge: all' http://a.example/

PURGE with Origin, Referer or a field that begins with Sec- is refused: a page
made a browser send it. With --purge-token-file it needs a token as well:

  curl -x ... -X PURGE -H 'Purge-Token: ...' http://a.example/page
",
        section: Some(Section::Cache),
        others: &[],
    },
    Topic {
        name: "reload",
        title: "reading the configuration again while weir runs",
        text: "
  kill -HUP PID                       the log says what came of it
  weir reload --pid-file FILE         and so does this, by its exit code
  systemctl reload weir               with config/weir.service: the same

The configuration file is read again, and every file that it names; options of
the command line and variables keep their precedence. All of it is judged first:
if anything is wrong, nothing changes, and the log has every mistake with file
and line. What is under way goes on as it began, with new connections and
requests the new settings hold. Some things cannot change while weir runs; the
log then says `needs a restart` and names them:
",
        section: None,
        others: &["pid-file"],
    },
    Topic {
        name: "signals",
        title: "signals that a running weir obeys, and its exit codes",
        text: "
  HUP     reads the configuration and all files again (weir help reload)
  USR1    opens access.log again by its name
  USR2    writes a line of statistics to standard error
  TERM    takes nothing new, finishes what is under way, cuts what is left after
          --drain-timeout, saves --cache-file; exit code 0
  INT     stops at once, as a second TERM does; exit code 130, or 143 for TERM

Exit codes of all commands:
  0       done; explain: allowed; reload: reloaded
  1       explain: refused, or the name leads nowhere
  64      the command line is wrong
  69      cannot listen: the address is in use, or is not this machine's;
          reload: no weir runs by that pid file
  71      the system refuses something else that weir needs
  78      the configuration, or a file that it names, is wrong
",
        section: None,
        others: &["drain-timeout", "stats-every"],
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
code 0: it is allowed; 1: it is refused, or the name leads nowhere.
",
        section: Some(Section::Explain),
        others: &[],
    },
];
