//! Who is told what, when sessions are reported before, after and long after it was said.

use super::GatewayId;
use super::home::*;
use super::recent::KEEP_MS;
use crate::{Epoch, InstanceId, Millis, SessionId, Slot, UserId};

/// When the word is said, by the clock of the home.
const SAID: u64 = 1_000;
/// The clocks of gateways are ahead by this.
const AHEAD: u64 = 777_000;

fn ana() -> UserId {
    UserId::new("ana").unwrap()
}

fn gateway(number: u32) -> InstanceId {
    InstanceId::new(&format!("g{number}")).unwrap()
}

fn change(session: u64, connected: u64) -> SessionChange {
    SessionChange {
        user: ana(),
        session: SessionId(session),
        conn_epoch: connected + 1,
        online: true,
        joined: vec![],
        left: vec![],
        ended: false,
        connected: Some(Millis(connected + AHEAD)),
    }
}

/// Two gateways that were heard from without delay.
fn homes() -> Homes<u8> {
    let mut homes = Homes::new(HomeOptions::default());
    homes.open(Slot::of("ana"), Epoch(1));
    for number in 1..=2 {
        homes.gateway_up(&gateway(number), GatewayId(number));
        homes.heard(&gateway(number), Millis(AHEAD), Millis(0));
    }
    homes
}

/// A connection: its gateway, its start, when it is reported and how long the report is on its way.
#[derive(Clone, Copy, Debug)]
struct Life {
    gateway: u32,
    connected: u64,
    waits: u64,
    way: u64,
}

impl Life {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for gateway in 1..=2 {
            for connected in [500, SAID - 100, SAID - 1, SAID, SAID + 1, SAID + 50] {
                for waits in [0, 99, KEEP_MS - 200, KEEP_MS + 200] {
                    all.extend([0, 40].map(|way| Self { gateway, connected, waits, way }));
                }
            }
        }
        all
    }

    fn arrives(&self) -> u64 {
        self.connected + self.waits + self.way
    }
}

/// How often each of the two connections gets the word.
fn told(lives: [Life; 2], session: Option<SessionId>) -> [usize; 2] {
    let mut homes = homes();
    let mut told = [0, 0];
    let mut events: Vec<(u64, Option<usize>)> = vec![(SAID, None)];
    events.extend(lives.iter().enumerate().map(|(at, life)| (life.arrives(), Some(at))));
    // Each is reported again a while later, as full lists do.
    events.extend(lives.iter().enumerate().map(|(at, life)| (life.arrives() + 300, Some(at))));
    // Of the same moment, reports come first.
    events.sort_by_key(|(at, what)| (*at, what.is_none()));
    for (number, (now, what)) in (1..).zip(events) {
        let now = Millis(now);
        homes.tick(now);
        let Some(at) = what else {
            let found = homes.tell(&ana(), session, (7, 10), now).unwrap();
            for (at, life) in lives.iter().enumerate() {
                let them = (GatewayId(life.gateway), SessionId(at as u64));
                told[at] += found.sessions.iter().filter(|found| **found == them).count();
            }
            continue;
        };
        let life = lives[at];
        homes.heard(&gateway(life.gateway), now - life.way + AHEAD, now);
        homes.apply(&gateway(life.gateway), number, false, &[change(at as u64, life.connected)], now);
        for effect in homes.effects() {
            let HomeEffect::Late { gateway, session, word } = effect else { panic!("{effect:?}") };
            assert_eq!((gateway, session, word), (GatewayId(life.gateway), SessionId(at as u64), 7));
            told[at] += 1;
        }
    }
    told
}

#[test]
fn whoever_was_connected_when_it_was_said_is_told_once_and_nobody_else() {
    for one in Life::all() {
        for two in Life::all() {
            let told = told([one, two], None);
            for (life, told) in [(one, told[0]), (two, told[1])] {
                // What is reported more than two seconds later is missed.
                let wanted = usize::from(life.connected <= SAID && life.arrives() <= SAID + KEEP_MS);
                assert_eq!(told, wanted, "{life:?} of {one:?} and {two:?}");
            }
        }
    }
}

#[test]
fn what_is_said_to_one_session_is_for_that_one() {
    let late = Life { gateway: 1, connected: SAID - 10, waits: 99, way: 0 };
    for two in Life::all().into_iter().filter(|two| two.gateway == 2) {
        let [one, two] = told([late, two], Some(SessionId(0)));
        assert_eq!((one, two), (1, 0));
    }
}

#[test]
fn who_comes_back_after_a_kick_is_not_kicked_by_it() {
    let mut homes = homes();
    homes.tell(&ana(), None, (7, 0), Millis(SAID)).unwrap();
    homes.apply(&gateway(1), 1, false, &[change(1, SAID - 5)], Millis(SAID + 90));
    assert_eq!(homes.effects().count(), 1);
    // The same session on another connection, and a new one.
    homes.apply(&gateway(2), 1, false, &[change(1, SAID + 20), change(2, SAID + 1)], Millis(SAID + 120));
    assert_eq!(homes.effects().count(), 0);
}

#[test]
fn a_session_that_goes_on_at_its_gateway_is_not_told_twice() {
    let mut homes = homes();
    homes.apply(&gateway(1), 1, false, &[change(1, 500)], Millis(600));
    // Another connection took it over before, at the same gateway, and has what was sent there.
    assert_eq!(homes.tell(&ana(), None, (7, 0), Millis(SAID)).unwrap().connections(), 1);
    homes.apply(&gateway(1), 2, false, &[change(1, SAID - 10)], Millis(SAID + 90));
    assert_eq!(homes.effects().count(), 0);
    // At another gateway it has not.
    homes.apply(&gateway(2), 1, false, &[change(1, SAID - 5)], Millis(SAID + 95));
    assert_eq!(homes.effects().count(), 1);
}

#[test]
fn nobody_is_told_late_where_nothing_says_when_it_connected() {
    let mut homes = homes();
    homes.gateway_up(&gateway(3), GatewayId(3));
    homes.tell(&ana(), None, (7, 0), Millis(SAID)).unwrap();
    homes.apply(&gateway(1), 1, false, &[SessionChange { connected: None, ..change(1, 5) }], Millis(SAID + 9));
    // Its clock is not known.
    homes.apply(&gateway(3), 1, false, &[change(2, 5)], Millis(SAID + 9));
    homes.apply(&gateway(2), 1, false, &[SessionChange { online: false, ..change(3, 5) }], Millis(SAID + 9));
    assert_eq!(homes.effects().count(), 0);
}

#[test]
fn a_home_that_moved_away_and_came_back_remembers_nothing() {
    let mut homes = homes();
    homes.tell(&ana(), None, (7, 0), Millis(SAID)).unwrap();
    homes.close(Slot::of("ana"));
    assert_eq!(homes.tell(&ana(), None, (8, 0), Millis(SAID)), None);
    homes.open(Slot::of("ana"), Epoch(2));
    homes.apply(&gateway(1), 1, true, &[change(1, SAID - 5)], Millis(SAID + 9));
    assert_eq!(homes.effects().count(), 0);
}

#[test]
fn a_connection_whose_gateway_was_out_of_reach_is_told_when_it_is_back() {
    let mut homes = homes();
    homes.apply(&gateway(1), 1, false, &[change(1, 500)], Millis(600));
    homes.gateway_down(&gateway(1), GatewayId(1), Millis(700), Millis(700));
    assert_eq!(homes.tell(&ana(), None, (7, 0), Millis(SAID)).unwrap().connections(), 0);
    homes.gateway_up(&gateway(1), GatewayId(9));
    homes.apply(&gateway(1), 2, true, &[change(1, 500)], Millis(SAID + 900));
    let late = HomeEffect::Late { gateway: GatewayId(9), session: SessionId(1), word: 7 };
    assert_eq!(homes.effects().collect::<Vec<_>>(), [late]);
}
