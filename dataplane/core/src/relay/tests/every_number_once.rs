//! Whatever happens: each number once, delivered or declared.

use super::*;

/// Owner events of a room: segments (lanes of their messages), or the next epoch.
fn story() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let segment = prop::collection::vec(0u8..4, 1..4).prop_map(Some);
    prop::collection::vec(prop_oneof![9 => segment, 1 => Just(None)], 1..60)
}

fn tell(ring: &mut Ring, feed: &mut Feed, event: Option<&Vec<u8>>, now: Millis) {
    if let Some(lanes) = event {
        assert_eq!(ring.take(feed.next(lanes), now, &Plain), Taken::New);
    } else {
        let sealed = Sealed { epoch: Epoch(feed.epoch), last: feed.head, next: Epoch(feed.epoch + 1) };
        assert_eq!(ring.seal(sealed, now, &Plain), Some(true));
        *feed = Feed::new(feed.epoch + 1);
    }
}

proptest! {
    /// Whatever was dropped, stripped or deleted meanwhile: what lies between two cursors comes exactly once.
    #[test]
    fn a_catch_up_holds_every_number_once(
        events in story(), step in 0u64..9_000, picks in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        skew in prop::array::uniform4(0u64..3), deleted in 0u64..20, small in any::<bool>(),
    ) {
        let limits = if small { Limits { room_bytes: 3_000, quiet_bytes: 0, catch_up_bytes: 100, catch_up_lossless_bytes: 400, ..Limits::default() } } else { Limits::default() };
        let mut feed = Feed::new(1);
        let mut ring = Ring::new(room("r"), at(1, [0; 4]), limits);
        let mut heads = vec![ring.head()];
        let mut ends: BTreeMap<Epoch, Seqs> = BTreeMap::new();
        for (i, event) in events.iter().enumerate() {
            tell(&mut ring, &mut feed, event.as_ref(), Millis(i as u64 * step));
            heads.push(ring.head());
            ends.insert(Epoch(feed.epoch), feed.head);
            if event.is_none() { ends.insert(Epoch(feed.epoch - 1), heads[heads.len() - 2].seq); }
            if deleted == i as u64 { ring.delete(Epoch(feed.epoch), Lane::Normal, feed.head[Lane::Normal], &Plain); }
        }
        let (a, b) = (picks.0.index(heads.len()), picks.1.index(heads.len()));
        let (mut since, until) = (heads[a.min(b)], heads[a.max(b)]);
        for lane in Lane::ALL { since.seq[lane] = since.seq[lane].saturating_sub(skew[lane.index()]); }
        let found = ring.catch_up(since, Some(until), &Plain).unwrap();
        prop_assert_eq!(found.cursor, until);
        let mut ledger = Ledger::default();
        found.segments.iter().for_each(|packed| ledger.add(packed));
        ledger.declare(&found.gaps);
        for epoch in since.epoch.0..=until.epoch.0 {
            let epoch = Epoch(epoch);
            let after = if epoch == since.epoch { since.seq } else { Seqs::ZERO };
            let last = if epoch == until.epoch { until.seq } else { ends[&epoch] };
            ledger.holds_exactly(epoch, after, last)?;
        }
        prop_assert_eq!(found.sealed.iter().map(|s| s.epoch.0).collect::<Vec<_>>(), (since.epoch.0..until.epoch.0).collect::<Vec<_>>());
        let lossless_lost = ledger.0.iter().any(|((_, lane, _), (times, _))| lane.is_lossless() && *times == 0);
        prop_assert_eq!(found.recovered, !lossless_lost);
    }

    /// A gateway that reads when it likes, and a client that comes back through it: live and caught up, every number once.
    #[test]
    fn live_and_caught_up_together_hold_every_number_once(
        events in story(), reads in prop::collection::vec(0usize..3_000, 60), away in 0usize..60, window in 300usize..3_000, tiny in any::<bool>(),
    ) {
        let limits = Limits { room_bytes: if tiny { 2_000 } else { 1 << 20 }, ..Limits::default() };
        let mut world = World::new(Options { limits, window_bytes: window, ..Options::default() });
        world.routes(&[("a", 1)]);
        world.gateway(1, None);
        world.answer("a", at(1, [0; 4]), &[]);
        let mut feed = Feed::new(1);
        let mut live = Ledger::default();
        let mut client = Ledger::default();
        let (mut place, mut client_at, mut ends) = (at(1, [0; 4]), None, BTreeMap::new());
        for (i, event) in events.iter().enumerate() {
            world.now = world.now + 10;
            if let Some(lanes) = event {
                world.relay.segment(world.link("a"), feed.next(lanes), world.now);
            } else {
                let sealed = Sealed { epoch: Epoch(feed.epoch), last: feed.head, next: Epoch(feed.epoch + 1) };
                ends.insert(sealed.epoch, sealed.last);
                world.relay.sealed(world.link("a"), &room("r"), sealed, world.now);
                feed = Feed::new(feed.epoch + 1);
            }
            world.run();
            let budget = if i + 1 == events.len() { usize::MAX } else { reads[i % reads.len()] };
            world.drain(1, budget, &mut |down| follow(down, &mut place, &mut live));
            if i == away { client_at = Some(place); }
        }
        // The gateway reads on until nothing is left.
        world.drain(1, usize::MAX, &mut |down| follow(down, &mut place, &mut live));
        ends.insert(Epoch(feed.epoch), feed.head);
        prop_assert_eq!(place, Cursor { epoch: Epoch(feed.epoch), seq: feed.head });
        for (epoch, last) in &ends { live.holds_exactly(*epoch, Seqs::ZERO, *last)?; }
        if let Some(since) = client_at {
            world.relay.read(GatewayId(1), &room("r"), Read::CatchUp { request: 1, since, until: Some(place) }, world.now);
            world.run();
            let mut answered = false;
            world.drain(1, usize::MAX, &mut |down| if let Downstream::CaughtUp { answer: Ok(found), .. } = down {
                answered = true;
                found.segments.iter().for_each(|packed| client.add(packed));
                client.declare(&found.gaps);
            });
            prop_assert!(answered);
            for (epoch, last) in ends.range(since.epoch..) {
                let after = if *epoch == since.epoch { since.seq } else { Seqs::ZERO };
                client.holds_exactly(*epoch, after, *last)?;
            }
        }
    }
}

#[test]
fn of_much_that_must_not_be_lost_a_reader_gets_the_newest_and_may_pull_the_rest() {
    let mut feed = Feed::new(1);
    let said: Vec<Packed> = (0..9).map(|_| feed.next(&[1])).collect();
    let each = said[0].body.len();
    let limits = Limits { catch_up_lossless_bytes: 3 * each + 1, ..Limits::default() };
    let mut ring = Ring::new(room("r"), at(1, [0; 4]), limits);
    for segment in said {
        assert_eq!(ring.take(segment, Millis(1), &Plain), Taken::New);
    }
    let found = ring.catch_up(at(1, [0; 4]), None, &Plain).unwrap();
    assert_eq!((found.segments.len(), found.recovered), (3, false));
    assert_eq!(found.gaps, [Gap { epoch: Epoch(1), lane: Lane::Protected, from: 1, to: 6 }]);
    let page = ring.pull(Epoch(1), Lane::Protected, 0, 200, &Plain).unwrap();
    assert_eq!(page.content.messages.len(), 9);
    let recent = ring.catch_up(at(1, [0, 6, 0, 0]), None, &Plain).unwrap();
    assert_eq!((recent.segments.len(), recent.recovered), (3, true));
}
