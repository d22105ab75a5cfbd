//! PURGE: removes stored responses, for clients that may do so (rules 50 and 59).
//!
//! Permission is given by address, which all programs of a machine share: a browser is one of them, and follows its pages. A
//! page can send PURGE to its own site without permission (Fetch standard, section 4.9), and may name anything in the cache.
//! Browsers name the source of such a request, in fields that no page can leave out; other programs that purge have no reason
//! to send these fields. If that is not enough, a token can be required.

use crate::cache::rfc::key::{self, Scheme, Uri};
use crate::engine::transaction::answer::Answer;
use crate::engine::transaction::examine::{Decision, Examiner};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::request::RequestInfo;
use crate::http::fields;
use crate::http::head::{Fields, RequestHead};
use crate::part::cache::built;
use crate::policy::cache_rules::PURGE_TOKEN_FIELD;

impl Examiner<'_> {
    /// Removes all variants of the URI, or with `Purge: host` all responses of its origin, or with `Purge: all` everything.
    /// Without `--purge-from` PURGE is a method like any other.
    pub(in crate::engine) fn purge(
        &self,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        path: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<Decision, Refusal>> {
        let cache = built().and(self.cache.as_ref()).filter(|_| head.method == "PURGE")?;
        let store = &cache.settings.store;
        if cache.settings.purge_from.is_empty() {
            return None;
        }
        if let Err(refusal) = self.may_purge(head) {
            return Some(Err(refusal));
        }
        // Only responses of the same kind of listener: a gateway and a forward proxy have different origins.
        let by_gateway = self.gateway.is_some();
        // A gateway has two URIs for it, whichever scheme the client of the proxy before it speaks.
        let schemes = if by_gateway { &[Scheme::Http, Scheme::Https][..] } else { &[Scheme::Http] };
        let uris = schemes.iter().map(|&scheme| Uri { scheme, authority: &info.authority, path, by_gateway });
        let scopes = head.fields.count("purge");
        let count = match head.fields.get("purge").filter(|_| scopes == 1) {
            None if scopes > 1 => return Some(Err(Refusal::PurgeScope)),
            Some(scope) if scope.eq_ignore_ascii_case(b"all") => store.purge(|_| true),
            Some(scope) if scope.eq_ignore_ascii_case(b"host") => uris.fold(0, |count, uri| {
                out.clear();
                key::write_key(out, &Uri { path: b"/", ..uri });
                count + store.purge(|key| key.starts_with(out))
            }),
            Some(_) => return Some(Err(Refusal::PurgeScope)),
            None => uris.fold(0, |count, uri| {
                out.clear();
                key::write_key(out, &uri);
                count + store.invalidate(out)
            }),
        };
        out.clear();
        fields::write_decimal(out, count as u64);
        out.extend_from_slice(b" purged\n");
        Some(Ok(Decision::Answer(Answer::Purged)))
    }

    fn may_purge(&self, head: &RequestHead<'_, '_>) -> Result<(), Refusal> {
        let client = self.client.to_canonical();
        let networks = self.cache.as_ref().map_or(&[][..], |cache| &cache.settings.purge_from);
        if !networks.iter().any(|network| network.contains(&client)) {
            return Err(Refusal::PurgeDenied);
        }
        if is_by_browser(head.fields) {
            return Err(Refusal::PurgeByBrowser);
        }
        let Some(token) = self.policy.cache_rules.purge_token() else { return Ok(()) };
        // Two fields count as none, as with credentials.
        let given = head.fields.get(PURGE_TOKEN_FIELD).filter(|_| head.fields.count(PURGE_TOKEN_FIELD) == 1);
        let given = given.ok_or(Refusal::PurgeTokenMissing)?;
        let key = token.key(given);
        let guess = self.guesses.begin(self.now, self.client, key).ok_or(Refusal::TooManyGuesses)?;
        if !token.matches(given) {
            return Err(Refusal::PurgeTokenMissing);
        }
        self.guesses.know(self.now, self.client, guess, key);
        Ok(())
    }
}

/// Whether the request has a field that browsers add. No page can set one that begins with `Sec-` (Fetch standard, section
/// 2.2.2), and no other program sends one; with any value, no browser sends PURGE for a user.
fn is_by_browser(fields: Fields<'_, '_>) -> bool {
    fields.iter().any(|(name, _)| {
        let begins =
            |text: &str| name.get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text));
        begins("sec-") || name.eq_ignore_ascii_case("origin") || name.eq_ignore_ascii_case("referer")
    })
}
