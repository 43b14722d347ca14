//! The law of gaps, whatever clients read and are told.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Say([u8; 4]),
    Read(u8, usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::array::uniform4(0_u8..6).prop_map(|counts| Step::Say([counts[0] / 4, counts[1] / 3, counts[2], counts[3]])),
        3 => (0_u8..3, 1_usize..3000).prop_map(|(conn, bytes)| Step::Read(conn, bytes)),
        1 => (1_u64..4000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However slowly clients read, whatever their budget: while they are not closed, the law holds for each lane, and
    /// lanes 0 and 1 are received whole.
    #[test]
    fn the_law_holds_for_every_subscriber(steps in steps(), rates in prop::array::uniform3(prop_oneof![Just(0_u32), 1_u32..40])) {
        let mut options = options();
        options.limits.queue_bytes = 3000;
        let mut shard = shard_with(options);
        let conns: Vec<u32> = rates.iter().enumerate().map(|(n, rate)| shard.enter(&format!("u{n}"), "r", *rate)).collect();
        for conn in &conns {
            shard.lines(*conn);
            shard.io.open.get_mut(conn).unwrap().room = 500;
        }
        let (mut last, mut now) = ([0_u64; 4], START);
        for step in steps {
            match step {
                Step::Say(counts) => {
                    let after = last;
                    let mut messages = Vec::new();
                    for lane in Lane::ALL {
                        for _ in 0..counts[lane.index()] {
                            last[lane.index()] += 1;
                            messages.push((lane, last[lane.index()], ["u0", "u1", "x", "y"][messages.len() % 4]));
                        }
                    }
                    if !messages.is_empty() {
                        shard.say_to_room(&messages, after);
                    }
                }
                Step::Read(conn, bytes) => {
                    let conn = conns[usize::from(conn)];
                    if let Some(pipe) = shard.io.open.get_mut(&conn) {
                        pipe.room += bytes;
                        shard.writable(conn);
                    }
                }
                Step::Wait(ms) => {
                    now = now + ms;
                    shard.at(now);
                    shard.turn();
                }
            }
        }
        for conn in conns {
            let Some(pipe) = shard.io.open.get_mut(&conn) else { continue };
            pipe.room = usize::MAX / 2;
            if !shard.conn(conn).is_some_and(Conn::is_open) {
                continue;
            }
            shard.writable(conn);
            let lines = shard.lines(conn);
            for lane in Lane::ALL {
                let seen = seen(&lines, u64::from(lane.number()));
                let result = check_law(&seen, last[lane.index()]);
                prop_assert!(result.is_ok(), "lane {:?}: {:?}", lane, result);
                if lane.is_lossless() {
                    prop_assert_eq!(seen.received.len() as u64, last[lane.index()]);
                }
            }
        }
    }
}
