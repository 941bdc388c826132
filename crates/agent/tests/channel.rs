//! The channel when the receiver is out of descriptors. Alone in its process, whose limit it changes.

use std::os::fd::AsFd;

use nullspace_agent::channel;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

fn limit_descriptors(most: u64) {
    let limit = Rlimit {
        current: Some(most),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn a_message_whose_descriptors_find_no_room_arrives_and_says_so() {
    let (ours, theirs) = channel::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for number in 1..=3_u32 {
        let twice = [file.as_fd(), file.as_fd()];
        channel::send(theirs.as_fd(), &number, &twice, SendFlags::empty()).unwrap();
    }
    let mut buffer = Vec::new();
    // Whatever is open already stays open; nothing new has a number below the limit.
    limit_descriptors(3);
    let cut = channel::receive::<u32>(ours.as_fd(), &mut buffer, RecvFlags::empty())
        .unwrap()
        .unwrap();
    assert_eq!((cut.message, cut.descriptors.len(), cut.is_whole), (1, 0, false));
    limit_descriptors(256);
    for number in 2..=3 {
        let whole = channel::receive::<u32>(ours.as_fd(), &mut buffer, RecvFlags::empty())
            .unwrap()
            .unwrap();
        assert_eq!(
            (whole.message, whole.descriptors.len(), whole.is_whole),
            (number, 2, true)
        );
    }
}
