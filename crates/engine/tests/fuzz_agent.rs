//! What an agent may send: it is inside a machine, so nothing of it is believed. Any bytes are a message or an error.

use nullspace_agent::files::{Op, Reply};
use nullspace_agent::message::{Order, Report};
use proptest::prelude::*;

proptest! {
    #[test]
    fn fuzz_any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = postcard::from_bytes::<Report>(&bytes);
        let _ = postcard::from_bytes::<Reply>(&bytes);
        // The other way round: the agent reads these from the engine.
        let _ = postcard::from_bytes::<Order>(&bytes);
        let _ = postcard::from_bytes::<Op>(&bytes);
    }
}
