//! Bodies that detection takes apart.

use weir::guard::inspection::{Part, WINDOW_BYTES, Walker};

use super::pieces::{options, shown, ways};

/// The types that have walkers of their own, and those that have none.
const MEDIA_TYPES: [&str; 6] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=xyz",
    "multipart/form-data; boundary=\"-\"",
    "application/octet-stream",
    "text/plain",
];

/// Any bytes as a body of any type: what is shown depends on the bytes and not on their pieces, nothing is longer than a window,
/// and all together is not much longer than the body.
pub fn body_parts(bytes: &[u8]) {
    let (choice, body) = options(bytes);
    let media_type = MEDIA_TYPES[usize::from(choice) % MEDIA_TYPES.len()];
    let parts_in = |pieces: &[usize]| {
        let mut walker = Walker::new([media_type.as_bytes()]);
        let (mut parts, mut rest) = (Vec::new(), body);
        let mut take = |part: Part<'_>| {
            assert!(part.bytes.len() <= WINDOW_BYTES, "{media_type}: {}", shown(body));
            parts.push((part.kind, part.field.to_vec(), part.bytes.to_vec()));
        };
        for piece in pieces {
            let (piece, behind) = rest.split_at(*piece);
            walker.push(piece, &mut take);
            rest = behind;
        }
        walker.end(&mut take);
        assert!(!walker.is_pending(), "{media_type}: {}", shown(body));
        parts
    };
    let [whole, others @ ..] = ways(body).map(|pieces| parts_in(&pieces));
    let total: usize = whole.iter().map(|(_, _, bytes)| bytes.len()).sum();
    assert!(total <= 4 * body.len() + 1024, "{total}, {media_type}: {}", shown(body));
    for other in others {
        assert_eq!(other, whole, "{media_type}: {}", shown(body));
    }
}
