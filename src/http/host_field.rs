//! The authority of a request: the target's, and the value of Host that is allowed beside it (RFC 9112 section 3.2).

use super::class::Class;
use super::fault::Fault;
use super::message::{RequestHead, Version};
use super::target::{Authority, Target};

/// The authority of a request: the target's, or that of Host for origin-form (port 80 unless Host names one). `None` for `*`,
/// which means this proxy. Rule 8: HTTP/1.1 demands exactly one valid Host, whatever the target is.
pub fn route_target(head: &RequestHead<'_, '_>, target: &Target<'_>) -> Result<Option<Authority>, Fault> {
    match target {
        Target::Absolute { authority, .. } | Target::Authority(authority) => {
            check_host(head, target, authority)?;
            Ok(Some(*authority))
        }
        Target::Origin { .. } => host(head)?.ok_or(Fault::HostMissing).and_then(host_authority).map(Some),
        // Empty where the target has no authority (RFC 9110 section 7.2).
        Target::Asterisk => match host(head)? {
            None | Some(b"") => Ok(None),
            Some(host) => host_authority(host).map(|_| None),
        },
    }
}

/// Checks Host of a request whose target has an authority, which is the one that counts.
pub fn check_host(
    head: &RequestHead<'_, '_>,
    target: &Target<'_>,
    authority: &Authority,
) -> Result<(), Fault> {
    let Some(host) = host(head)? else { return Ok(()) };
    // Clients repeat the target's authority in Host. An empty Host adds nothing to the target (RFC 9112 section 3.2.2).
    if !host.is_empty() && spelled(head.target, target) != Some(host) && !authority.has_name(host) {
        host_authority(host)?;
    }
    Ok(())
}

/// The value of Host, which may be missing in 1.0 only.
fn host<'b>(head: &RequestHead<'_, 'b>) -> Result<Option<&'b [u8]>, Fault> {
    let mut hosts = head.fields.all_of(Class::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Fault::HostRepeated);
    }
    match (host, head.version) {
        (None, Version::Http11) => Err(Fault::HostMissing),
        (None, Version::Http10) | (Some(_), _) => Ok(host),
    }
}

/// The authority as spelled in the target: a Host of equal bytes is equally valid.
fn spelled<'b>(bytes: &'b [u8], target: &Target<'_>) -> Option<&'b [u8]> {
    match target {
        Target::Absolute { path, .. } => {
            let scheme = if bytes.get(4) == Some(&b':') { "http://" } else { "ws://" };
            bytes.get(scheme.len()..bytes.len().checked_sub(path.len())?)
        }
        Target::Authority(_) => Some(bytes),
        Target::Origin { .. } | Target::Asterisk => None,
    }
}

fn host_authority(host: &[u8]) -> Result<Authority, Fault> {
    Authority::parse(host, Some(80)).map_err(|_| Fault::HostInvalid)
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_request;
    use super::*;

    fn routed(line: &str, fields: &str) -> Result<Option<String>, Fault> {
        with_request(format!("{line}\r\n{fields}\r\n").as_bytes(), |head| {
            let target = Target::parse(head.method, head.target, false)?;
            Ok(route_target(head, &target)?.map(|authority| authority.to_string()))
        })
    }

    #[test]
    fn rule_8_host() {
        let to = |text: &str| Ok(Some(text.to_string()));
        for (line, fields, expected) in [
            ("GET http://a/ HTTP/1.1", "Host: a\r\n", to("a:80")),
            ("GET http://a:81/ HTTP/1.1", "HOST: elsewhere:82\r\n", to("a:81")),
            ("GET http://a:81/ HTTP/1.1", "Host: A:82\r\n", to("a:81")),
            ("GET http://a/ HTTP/1.1", "Host: a:\r\n", to("a:80")),
            ("GET http://a/ HTTP/1.1", "Host: a:0\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: a(\r\n", Err(Fault::HostInvalid)),
            ("GET http://1.2.3.4/ HTTP/1.1", "Host: 1.2.3.4\r\n", to("1.2.3.4:80")),
            ("GET http://a/ HTTP/1.1", "", Err(Fault::HostMissing)),
            ("GET http://a/ HTTP/1.0", "", to("a:80")),
            ("GET http://a/ HTTP/1.1", "Host: a\r\nHost: a\r\n", Err(Fault::HostRepeated)),
            ("GET http://a/ HTTP/1.0", "Host: a\r\nhost: b\r\n", Err(Fault::HostRepeated)),
            ("GET http://a/ HTTP/1.1", "Host:\r\n", to("a:80")),
            ("GET ws://a:81/ HTTP/1.0", "Host: \t \r\n", to("a:81")),
            ("GET http://a/ HTTP/1.1", "Host:\r\nHost:\r\n", Err(Fault::HostRepeated)),
            ("GET ws://a:81/x HTTP/1.1", "Host: a:81\r\n", to("a:81")),
            ("GET ws://1.2.3.4 HTTP/1.1", "Host: 1.2.3.4\r\n", to("1.2.3.4:80")),
            ("GET ws://a/ HTTP/1.1", "Host: a b\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: a b\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: a, b\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: u@a\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: a/b\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: a:x\r\n", Err(Fault::HostInvalid)),
            ("GET http://a/ HTTP/1.1", "Host: 1.2.3.4.5\r\n", Err(Fault::HostInvalid)),
            ("GET / HTTP/1.1", "Host: A.\r\n", to("a:80")),
            ("GET / HTTP/1.1", "Host: a:81\r\n", to("a:81")),
            ("GET / HTTP/1.0", "Host: a\r\n", to("a:80")),
            ("GET / HTTP/1.0", "", Err(Fault::HostMissing)),
            ("GET / HTTP/1.1", "Host:\r\n", Err(Fault::HostInvalid)),
            ("CONNECT a:443 HTTP/1.1", "Host: b\r\n", to("a:443")),
            ("CONNECT a:443 HTTP/1.0", "", to("a:443")),
            ("CONNECT a:443 HTTP/1.1", "Host:\r\n", to("a:443")),
            ("CONNECT a:443 HTTP/1.1", "", Err(Fault::HostMissing)),
            ("OPTIONS * HTTP/1.1", "Host: a\r\n", Ok(None)),
            ("OPTIONS * HTTP/1.1", "Host:\r\n", Ok(None)),
            ("OPTIONS * HTTP/1.0", "", Ok(None)),
            ("OPTIONS * HTTP/1.1", "Host: a b\r\n", Err(Fault::HostInvalid)),
        ] {
            assert_eq!(routed(line, fields), expected, "{line} {fields:?}");
        }
    }
}
