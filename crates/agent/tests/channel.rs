//! The channel when the receiver is out of descriptors. Alone in its process, whose limit it changes.

use std::os::fd::AsFd;

use nullspace_agent::channel;

fn limit_descriptors(most: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a live structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = most;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

#[test]
fn a_message_whose_descriptors_find_no_room_arrives_and_says_so() {
    let (ours, theirs) = channel::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for number in 1..=3_u32 {
        channel::send(theirs.as_fd(), &number, &[file.as_fd(), file.as_fd()], 0).unwrap();
    }
    let mut buffer = Vec::new();
    // Whatever is open already stays open; nothing new has a number below the limit.
    limit_descriptors(3);
    let cut = channel::receive::<u32>(ours.as_fd(), &mut buffer, 0)
        .unwrap()
        .unwrap();
    assert_eq!((cut.message, cut.descriptors.len(), cut.is_whole), (1, 0, false));
    limit_descriptors(256);
    for number in 2..=3 {
        let whole = channel::receive::<u32>(ours.as_fd(), &mut buffer, 0)
            .unwrap()
            .unwrap();
        assert_eq!(
            (whole.message, whole.descriptors.len(), whole.is_whole),
            (number, 2, true)
        );
    }
}
