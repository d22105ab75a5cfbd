//! Every way in which a message can be wrong, with the word for logs, the sentence for people and the status.

/// A fault of a message. The status is for a request; a faulty response always becomes a 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A TLS record on a port that speaks plain HTTP.
    Tls,
    /// The HTTP/2 connection preface (RFC 9113 section 3.4).
    Http2Preface,
    /// A SOCKS client of version 4.
    Socks4,
    /// A SOCKS client of version 5 (RFC 1928).
    Socks5,
    /// An FTP command.
    Ftp,
    /// A command of a mail program.
    Smtp,
    /// The banner of an SSH client (RFC 4253 section 4.2).
    Ssh,
    /// A header of the PROXY protocol, as load balancers send it.
    ProxyHeader,
    /// More empty lines before the request line than are skipped.
    EmptyLines,
    /// A tab, a doubled or a leading blank in the request line.
    RequestLineBlank,
    /// The method is not a token.
    Method,
    /// The method is longer than any that is in use.
    MethodTooLong,
    /// The request line ends after the target, as in HTTP/0.9.
    VersionMissing,
    /// The version is not spelt `HTTP/1.1` or `HTTP/1.0`.
    VersionMalformed,
    /// A major version other than 1.
    VersionUnsupported,
    /// The version of another protocol, such as `RTSP/1.0`.
    VersionForeign,
    /// A line that ends in LF without CR.
    BareLineFeed,
    /// A CR that no LF follows.
    BareCarriageReturn,
    /// NUL or another control character in a head.
    ControlCharacter,
    /// The target exceeds its limit.
    TargetTooLong,
    /// The head exceeds its limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// The head ends before its empty line.
    HeadIncomplete,
    /// A fault without a word of its own.
    HeadMalformed,
    /// A field name that is empty or not a token.
    FieldName,
    /// Whitespace between field name and colon.
    FieldNameBlank,
    /// A line without a colon among the fields.
    FieldColon,
    /// A field line that begins with whitespace (obs-fold).
    LineFolding,
    /// Connection names more options than any client needs.
    ConnectionOptions,
    /// Not a status line.
    StatusLine,
    /// The status is not within 100 to 999.
    StatusCode,
    /// The target has none of the four forms, or one that does not suit the method.
    TargetForm,
    /// The target holds a byte that no URI may hold.
    TargetCharacter,
    /// The target has a fragment.
    Fragment,
    /// A scheme other than `http` and `ws`.
    Scheme,
    /// `https://` without CONNECT.
    SchemeHttps,
    /// `wss://` without CONNECT.
    SchemeWss,
    /// `ftp://`
    SchemeFtp,
    /// The target carries a user name or password.
    Userinfo,
    /// The target names no host.
    HostEmpty,
    /// The target's host is neither a name nor an address.
    HostSyntax,
    /// The target's host looks like an IPv4 address but is none.
    HostAddress,
    /// The port is not a decimal number from 1 to 65535.
    PortSyntax,
    /// CONNECT without a port.
    PortMissing,
    /// No Host in an HTTP/1.1 request, or none where only Host could name the authority.
    HostMissing,
    /// Several Host fields.
    HostRepeated,
    /// The Host field's value is not a host with an optional port.
    HostInvalid,
    /// Content-Length is not a decimal number below 2^63.
    ContentLengthSyntax,
    /// Several Content-Length values that differ.
    ContentLengthDiffers,
    /// Content-Length together with Transfer-Encoding.
    ContentLengthAndCoding,
    /// The transfer codings do not end in one `chunked`.
    TransferCoding,
    /// A transfer coding beside `chunked`.
    TransferCodingUnknown,
    /// Transfer-Encoding in an HTTP/1.0 message.
    TransferCodingVersion,
    /// A chunk size that is not hex digits, or beyond 2^63.
    ChunkSize,
    /// A chunk extension that breaks the grammar.
    ChunkExtension,
    /// Chunk extensions, blanks behind a size, or leading zeros beyond their limit.
    ChunkExtensionTooLong,
    /// Chunk data that CRLF does not follow.
    ChunkEnd,
    /// Trailers beyond their limit.
    TrailerTooLarge,
    /// A trailer that is not a field line.
    TrailerSyntax,
    /// An expectation other than `100-continue`.
    Expectation,
    /// Max-Forwards is not a number, or there are several.
    MaxForwards,
}

impl Fault {
    /// A short word for logs and for the details of Proxy-Status.
    pub fn rule(self) -> &'static str {
        self.description().0
    }

    /// The status for a client whose request has the fault.
    pub fn status(self) -> u16 {
        self.description().1
    }

    /// One sentence for people.
    pub fn explanation(self) -> &'static str {
        self.description().2
    }

    /// Whether the fault is an exceeded limit.
    pub fn is_limit(self) -> bool {
        use Fault as F;
        matches!(
            self,
            F::TargetTooLong
                | F::HeadTooLarge
                | F::TooManyFields
                | F::MethodTooLong
                | F::EmptyLines
                | F::ConnectionOptions
                | F::ChunkExtensionTooLong
                | F::TrailerTooLarge
        )
    }

    /// Advice for a sender that has reached a gateway, which stands for the server itself.
    pub fn advice_for_gateway(self) -> &'static str {
        use Fault as F;
        match self {
            F::Tls | F::SchemeHttps | F::SchemeWss => {
                "This port speaks plain HTTP: use an http:// URL, or the port of the server that speaks TLS."
            }
            F::Http2Preface => "Have the client speak HTTP/1.1 to this port.",
            F::Socks4 | F::Socks5 | F::Ftp | F::Smtp | F::Ssh => {
                "This is the port of a web server, which speaks HTTP/1.1: have the client use another address."
            }
            F::SchemeFtp | F::Scheme | F::VersionForeign => "Ask this port for http:// URLs only.",
            other => other.advice(),
        }
    }

    /// Advice for the sender.
    pub fn advice(self) -> &'static str {
        use Fault as F;
        match self {
            F::Tls => {
                "Have the client speak plain HTTP to the proxy: its address is http://HOST:PORT, not https://HOST:PORT, for https \
                 sites, too (http_proxy and https_proxy). It encrypts what it sends to them inside a CONNECT tunnel."
            }
            F::Http2Preface => {
                "Have the client speak HTTP/1.1 to the proxy. Inside a CONNECT tunnel it can speak HTTP/2 to the origin."
            }
            F::Socks4 | F::Socks5 => {
                "Configure this address as an HTTP proxy and not as a SOCKS proxy: http://HOST:PORT in place of socks5://HOST:PORT."
            }
            F::Ftp => {
                "Configure this address as an HTTP proxy. FTP is not spoken here, neither to clients nor to servers."
            }
            F::Smtp => "Configure the mail server's own address in the mail program, not that of this proxy.",
            F::Ssh => {
                "Go through a tunnel, for example: ssh -o 'ProxyCommand nc -X connect -x PROXY:PORT %h %p' HOST; port 22 has to be \
                 one of --connect-ports."
            }
            F::ProxyHeader => "Switch the PROXY protocol off for this port in the load balancer in front.",
            F::SchemeHttps | F::SchemeWss => {
                "Configure the proxy for https in the client, as for http: https_proxy=http://HOST:PORT, or the setting \
                 \"HTTPS proxy\" or \"secure proxy\". If it has one, let it use CONNECT (curl --proxytunnel)."
            }
            F::SchemeFtp => {
                "Use an https:// or http:// URL of the same server, or connect to it without this proxy (no_proxy)."
            }
            F::Scheme | F::VersionForeign => {
                "Have the client connect to that server without this proxy (no_proxy), or by a CONNECT tunnel."
            }
            F::TargetTooLong => "Shorten the URL, or ask the operator of this proxy to raise the limit.",
            F::HeadTooLarge | F::TooManyFields => {
                "Send fewer or shorter header fields (cookies are the longest, mostly), or ask the operator of this proxy to raise \
                 the limit."
            }
            F::Expectation => "Send the request without Expect, or with 100-continue.",
            _ if self.is_limit() => "Send less of it; no option of this proxy changes that limit.",
            _ => "The request is not valid HTTP/1.1; the client program has to be corrected.",
        }
    }

    // One table, so that no variant can have a word without a sentence. 400 unless RFC 9110 or 6585 has a better one.
    fn description(self) -> (&'static str, u16, &'static str) {
        use Fault as F;
        match self {
            F::Tls => ("tls_on_plain_port", 400, "This port speaks plain HTTP, but a TLS handshake arrived."),
            F::Http2Preface => {
                ("http2_preface", 505, "This port speaks HTTP/1.1, but an HTTP/2 client has connected.")
            }
            F::Socks4 => {
                ("socks4_on_http_port", 400, "This port speaks HTTP, but a SOCKS4 client has connected.")
            }
            F::Socks5 => {
                ("socks5_on_http_port", 400, "This port speaks HTTP, but a SOCKS5 client has connected.")
            }
            F::Ftp => ("ftp_on_http_port", 400, "This port speaks HTTP, but an FTP command arrived."),
            F::Smtp => {
                ("smtp_on_http_port", 400, "This port speaks HTTP, but a mail command (SMTP) arrived.")
            }
            F::Ssh => ("ssh_on_http_port", 400, "This port speaks HTTP, but an SSH client has connected."),
            F::ProxyHeader => {
                ("proxy_protocol", 400, "This port expects no PROXY protocol header, but one arrived.")
            }
            F::EmptyLines => ("empty_lines", 400, "Too many empty lines came before the request line."),
            F::RequestLineBlank => (
                "request_line_blank",
                400,
                "The parts of the request line must be separated by exactly one space.",
            ),
            F::Method => ("method_syntax", 400, "The request does not begin with a method."),
            F::MethodTooLong => ("method_too_long", 501, "The method is longer than any that is in use."),
            F::VersionMissing => ("version_missing", 400, "The request line ends without an HTTP version."),
            F::VersionMalformed => {
                ("version_malformed", 400, "The HTTP version must be spelt HTTP/1.1 or HTTP/1.0.")
            }
            F::VersionUnsupported => {
                ("version_unsupported", 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
            }
            F::VersionForeign => (
                "version_foreign",
                400,
                "The request line is one of another protocol (such as RTSP, SIP or ICAP).",
            ),
            F::BareLineFeed => ("bare_line_feed", 400, "A line ends in LF alone; lines end in CRLF."),
            F::BareCarriageReturn => {
                ("bare_carriage_return", 400, "A CR stands in a line without a LF after it.")
            }
            F::ControlCharacter => ("control_character", 400, "The head contains a control character."),
            F::TargetTooLong => ("target_too_long", 414, "The request target is longer than the limit."),
            F::HeadTooLarge => ("head_too_large", 431, "The message head is larger than the limit."),
            F::TooManyFields => {
                ("too_many_fields", 431, "The message has more header fields than the limit.")
            }
            F::HeadIncomplete => ("head_incomplete", 400, "The message head ends too early."),
            F::HeadMalformed => ("head_malformed", 400, "The message head does not follow the HTTP grammar."),
            F::FieldName => {
                ("field_name", 400, "A header field name is empty or contains a forbidden character.")
            }
            F::FieldNameBlank => {
                ("field_name_blank", 400, "There is whitespace between a header field name and its colon.")
            }
            F::FieldColon => ("field_colon", 400, "A header field line has no colon."),
            F::LineFolding => {
                ("line_folding", 400, "A header field line begins with whitespace (obsolete folding).")
            }
            F::ConnectionOptions => {
                ("connection_options", 400, "The Connection field names too many options.")
            }
            F::StatusLine => ("status_line", 400, "The response does not begin with an HTTP status line."),
            F::StatusCode => ("status_code", 400, "The status code is not a number from 100 to 999."),
            F::TargetForm => {
                ("target_form", 400, "The request target does not have a form that suits the method.")
            }
            F::TargetCharacter => {
                ("target_character", 400, "The request target contains a forbidden character.")
            }
            F::Fragment => ("target_fragment", 400, "The request target contains a fragment (#)."),
            F::Scheme => (
                "scheme_unsupported",
                501,
                "Only http:// and ws:// are forwarded, and https by CONNECT; other schemes are not known.",
            ),
            F::SchemeHttps => (
                "https_without_connect",
                501,
                "An https:// URL cannot be fetched for the client, which has to encrypt by itself.",
            ),
            F::SchemeWss => (
                "wss_without_connect",
                501,
                "A wss:// URL cannot be fetched for the client, which has to encrypt by itself.",
            ),
            F::SchemeFtp => (
                "ftp_url",
                501,
                "This proxy speaks HTTP to origins, and no FTP: ftp:// URLs cannot be fetched.",
            ),
            F::Userinfo => ("target_userinfo", 400, "The request target carries a user name or a password."),
            F::HostEmpty => ("host_empty", 400, "The request target names no host."),
            F::HostSyntax => {
                ("host_syntax", 400, "The host in the request target is neither a name nor an address.")
            }
            F::HostAddress => {
                ("host_address", 400, "The host in the request target is not a valid IPv4 address.")
            }
            F::PortSyntax => ("port_syntax", 400, "The port must be a decimal number from 1 to 65535."),
            F::PortMissing => ("port_missing", 400, "CONNECT needs a host and a port."),
            F::HostMissing => ("host_missing", 400, "The request has no Host field."),
            F::HostRepeated => ("host_repeated", 400, "The request has several Host fields."),
            F::HostInvalid => ("host_invalid", 400, "The value of the Host field is not a host and port."),
            F::ContentLengthSyntax => {
                ("content_length_syntax", 400, "Content-Length is not a decimal number in range.")
            }
            F::ContentLengthDiffers => {
                ("content_length_differs", 400, "Several Content-Length values differ.")
            }
            F::ContentLengthAndCoding => {
                ("content_length_and_coding", 400, "Content-Length and Transfer-Encoding exclude each other.")
            }
            F::TransferCoding => ("transfer_coding", 400, "Transfer-Encoding must be exactly: chunked."),
            F::TransferCodingUnknown => {
                ("transfer_coding_unknown", 501, "Transfer-Encoding names a coding that is not spoken here.")
            }
            F::TransferCodingVersion => {
                ("transfer_coding_version", 400, "Transfer-Encoding does not exist in HTTP/1.0.")
            }
            F::ChunkSize => ("chunk_size", 400, "A chunk size is not a hexadecimal number in range."),
            F::ChunkExtension => ("chunk_extension", 400, "A chunk extension does not follow the grammar."),
            F::ChunkExtensionTooLong => (
                "chunk_extension_too_long",
                400,
                "The chunk extensions, or what pads the chunk sizes, are too long.",
            ),
            F::ChunkEnd => ("chunk_end", 400, "A chunk is not followed by CRLF."),
            F::TrailerTooLarge => ("trailer_too_large", 431, "The trailer section is larger than the limit."),
            F::TrailerSyntax => ("trailer_syntax", 400, "A trailer field does not follow the grammar."),
            F::Expectation => ("expectation", 417, "Only the expectation 100-continue can be met."),
            F::MaxForwards => ("max_forwards", 400, "Max-Forwards is not a single decimal number."),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.rule())
    }
}
