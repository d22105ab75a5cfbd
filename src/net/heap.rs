//! The bounds of heap beside the blocks, which messages take that outgrow one block.
//!
//! A message that is being received grows in steps, and keeps what it has while it asks for more. If steps could take all of the heap,
//! messages that are half received could hold all of it, and none of them could be completed. So a share keeps room for the largest
//! message: steps are granted as long as that room is left. Then a message gets room for the largest at once: it needs no more, will be
//! complete, and returns what it has not filled for the next one.
//!
//! A request needs heap in this order: its received head, the head that is sent, the received head of the response, the head that is
//! sent. Each of the two received ones has a share of its own. What is sent has as much as both, and nothing is received that would not fit
//! there: so a request that has a part of it can always have the rest.

/// What a piece of heap holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeapKind {
    /// A request that is received: its head, and a body that stays behind it.
    Request,
    /// The head of a response that is received.
    Response,
    /// Bytes that the engine sends.
    Sent,
}

/// The sizes of the largest messages that stay in one piece, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Largest {
    /// A request: its head, what is received with it, and a body that stays behind it.
    pub request: usize,
    /// The head of a response, and what is received with it.
    pub response: usize,
}

/// The granted heap of each kind.
#[derive(Debug)]
pub(super) struct Heap {
    shares: [Share; 3],
    /// Heap has come back since that was last asked.
    returned: bool,
}

#[derive(Debug, Default)]
struct Share {
    granted: usize,
    bytes_max: usize,
    /// Room that steps leave.
    kept: usize,
}

impl Heap {
    /// Heap beside so many bytes of blocks.
    pub fn new(block_bytes: usize, largest: Largest) -> Heap {
        let mut heap = Heap { shares: Default::default(), returned: false };
        heap.divide(block_bytes, largest);
        heap.returned = false;
        heap
    }

    /// The most bytes that are granted at once: three eighths of the bytes of the blocks (chosen), but at least what a few requests need.
    pub fn bytes_max(block_bytes: usize, largest: Largest) -> usize {
        parts(block_bytes, largest).iter().map(|(bytes_max, _)| bytes_max).sum()
    }

    /// Sets the shares.
    pub fn divide(&mut self, block_bytes: usize, largest: Largest) {
        for (share, (bytes_max, kept)) in self.shares.iter_mut().zip(parts(block_bytes, largest)) {
            (share.bytes_max, share.kept) = (bytes_max, kept);
        }
        self.returned = true;
    }

    /// Grants heap for a piece that has `held` bytes of it and is copied to a larger one: at least `step` bytes. Returns the number of
    /// granted bytes; the piece that is replaced is given back by its owner.
    pub fn grant(&mut self, kind: HeapKind, held: usize, step: usize) -> Option<usize> {
        let bytes = self.fitting(kind, held, step)?;
        self.shares[kind as usize].granted += bytes;
        Some(bytes)
    }

    /// The number of bytes that would be granted.
    pub fn fitting(&self, kind: HeapKind, held: usize, step: usize) -> Option<usize> {
        // What is received will be sent.
        let unsent = match kind {
            HeapKind::Request | HeapKind::Response => self.granted() - held,
            HeapKind::Sent => 0,
        };
        let sent_max = self.shares[HeapKind::Sent as usize].bytes_max;
        let share = &self.shares[kind as usize];
        let others = share.granted - held;
        let whole = step.max(share.kept);
        let bytes = if others + step + share.kept <= share.bytes_max { step } else { whole };
        let fits = others + bytes <= share.bytes_max && unsent + bytes <= sent_max;
        fits.then_some(bytes)
    }

    /// Takes granted heap back.
    pub fn give_back(&mut self, kind: HeapKind, bytes: usize) {
        let share = &mut self.shares[kind as usize];
        debug_assert!(share.granted >= bytes);
        share.granted -= bytes;
        self.returned = true;
    }

    /// Whether heap has come back since the last call: what was refused may be granted.
    pub fn take_returned(&mut self) -> bool {
        std::mem::take(&mut self.returned)
    }

    /// The granted bytes of all kinds.
    pub fn granted(&self) -> usize {
        self.shares.iter().map(|share| share.granted).sum()
    }
}

/// For each kind, the most bytes and those that steps leave. Requests keep their heads while origins think, so that there is room for
/// some beside the largest one (chosen).
fn parts(block_bytes: usize, largest: Largest) -> [(usize, usize); 3] {
    let Largest { request, response } = largest;
    let share = block_bytes / 32 * 3;
    let requests = share.max(request + WAITING_BYTES);
    let responses = share.max(response + SLOW_BYTES);
    [(requests, request), (responses, response), (requests + responses, 0)]
}

/// Least room for requests that are complete and wait: eight with heads of up to two blocks (chosen).
const WAITING_BYTES: usize = 64 * 1024;

/// Least room for responses whose heads come slowly: three of up to two blocks (chosen).
const SLOW_BYTES: usize = 24 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: Largest = Largest { request: 100_000, response: 36_000 };

    #[test]
    fn half_received_messages_never_take_all() {
        for block_bytes in [0, 1 << 20, 1 << 24] {
            let mut heap = Heap::new(block_bytes, LARGEST);
            let mut pieces: Vec<usize> =
                std::iter::from_fn(|| heap.grant(HeapKind::Request, 0, 8192)).collect();
            // The last one got room for all that it can become.
            assert_eq!(pieces.pop(), Some(100_000), "{block_bytes}");
            assert!(pieces.len() >= 8 && pieces.iter().all(|&bytes| bytes == 8192));
            assert_eq!(heap.grant(HeapKind::Request, 8192, 16_384), None);
            // It is complete, and so another one can be.
            heap.give_back(HeapKind::Request, 100_000);
            assert!(heap.take_returned() && !heap.take_returned());
            assert_eq!(heap.fitting(HeapKind::Request, 0, 8192), Some(100_000));
            let held = pieces.pop().expect("a piece");
            assert_eq!(heap.grant(HeapKind::Request, held, 16_384), Some(100_000), "{block_bytes}");
        }
    }

    #[test]
    fn what_is_received_can_be_sent() {
        let (mut heap, all) = (Heap::new(0, LARGEST), 100_000 + WAITING_BYTES);
        assert_eq!(heap.grant(HeapKind::Request, 0, all), Some(all));
        assert_eq!(heap.grant(HeapKind::Sent, 0, all), Some(all));
        assert_eq!(heap.grant(HeapKind::Response, 0, 8), None, "the requests are not sent yet");
        heap.give_back(HeapKind::Sent, all);
        assert_eq!(heap.grant(HeapKind::Response, 0, SLOW_BYTES + 1), Some(36_000));
        assert_eq!(heap.grant(HeapKind::Sent, 0, 36_000), Some(36_000));
        heap.give_back(HeapKind::Response, 36_000);
        assert_eq!(heap.grant(HeapKind::Sent, 0, all), Some(all));
        let sent = all + 36_000 + SLOW_BYTES;
        assert_eq!(heap.grant(HeapKind::Sent, 0, SLOW_BYTES), Some(SLOW_BYTES));
        assert_eq!(heap.grant(HeapKind::Sent, 0, 1), None);
        assert_eq!((heap.granted(), Heap::bytes_max(0, LARGEST)), (all + sent, 2 * sent));
    }

    #[test]
    fn all_shares_are_three_eighths_of_the_blocks() {
        assert_eq!(Heap::bytes_max(1 << 24, LARGEST), 3 << 21);
        let mut heap = Heap::new(1 << 24, LARGEST);
        heap.divide(0, LARGEST);
        assert_eq!(heap.grant(HeapKind::Response, 0, 36_001 + SLOW_BYTES), None, "more than the share");
    }
}
