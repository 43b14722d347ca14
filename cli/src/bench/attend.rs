//! `throng bench attend`: people in one lively room and several small ones, for as long as somebody wants them there. What
//! they notice while the servers around them change.
//!
//! They do what the protocol's page tells a client: go elsewhere when a gateway says that it goes, before they close; come
//! back with their token after a loss. Who is *cut off* was closed without a warning, could not go on with the session, or
//! heard nothing in the lively room for over two seconds (`--slack` times as long).

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use throng_core::Lane;

use super::args::AttendArgs;
use super::clock::now_us;
use super::conn::Identity;
use super::drive::{self, TURN};
use super::failover::Crowd;
use super::fleet::Fleet;
use super::notes::Silence;
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::report::{LaneReport, Report};
use super::server::{Server, Setting};
use super::verdict::Verdict;

/// A silence that people notice.
const LONG_US: f64 = 2e6;
/// Messages a second that one user publishes.
const PER_PUBLISHER: f64 = 5.0;
/// Messages a second in each small room, on the lane that must not lose any.
const SMALL_RATE: f64 = 1.0;
/// Time between two lines of `--watch`.
const TELL_US: u64 = 1_000_000;
/// At the end everybody is back by then ...
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// ... and has everything by then.
const QUIET: Duration = Duration::from_secs(2);

/// A line of `--watch`.
#[derive(Serialize)]
struct Now {
    /// Clients in their rooms.
    ready: usize,
    /// So far: connections that were told to go elsewhere.
    goaways: u64,
    /// So far: connections that ended without a warning.
    disconnects: u64,
    /// So far: connections that were closed after a warning, before their client had moved.
    late: u64,
    /// So far: returns that had to begin a new session, or could not recover all.
    not_resumed: u64,
    /// So far: silences of over two seconds.
    silences: u64,
    /// So far: publishes that were acknowledged.
    published: u64,
    /// So far: messages that arrived.
    delivered: u64,
}

/// Runs it.
pub(super) fn scenario(args: &AttendArgs, progress: &Progress) -> anyhow::Result<Report> {
    progress.stage("starting the server");
    let mut server = Server::start(&args.server, 2, &[Setting::MaxRateCap(0)])?;
    let (mut fleet, streams) = clients(args, &server)?;
    fleet.shared.follows_goaway = true;
    progress.stage("connecting");
    drive::connect(&mut fleet, 0..args.subscribers as usize, args.server.pace(), progress)?;
    let begun_us = now_us();
    let hot = streams.first().map(|stream| stream.room);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
    let bound_us = (LONG_US * args.server.slack().0) as u64;
    fleet.shared.silence = Silence { room: hot, since_us: begun_us, bound_us, ..Silence::default() };
    let mut publisher = Publisher::new(streams, &fleet);
    publisher.begin(begun_us, f64::MAX, true, &mut fleet.shared);
    let mut crowd = Crowd::new(server.ready.urls.len());

    progress.stage("attending");
    let ended = end_of_stdin(args.seconds.is_some())?;
    let end_us = args.seconds.map_or(u64::MAX, |seconds| begun_us + seconds * 1_000_000);
    let mut told_us = begun_us;
    while now_us() < end_us && !ended.load(Ordering::Relaxed) {
        turn(&mut fleet, &mut publisher, &mut crowd)?;
        if now_us() > told_us + TELL_US {
            told_us += TELL_US;
            server.check()?;
            if args.watch {
                tell(&fleet, &publisher, &crowd)?;
            }
        }
    }
    let seconds = now_us().saturating_sub(begun_us) as f64 / 1e6;
    publisher.end();
    progress.stage("waiting for the last messages");
    let late_us = now_us() + drive::micros(BACK_WITHIN);
    while !crowd.is_complete(&fleet) && now_us() < late_us {
        turn(&mut fleet, &mut publisher, &mut crowd)?;
    }
    // Nobody speaks any more: this silence is not the server's.
    fleet.shared.silence.room = None;
    let quiet_us = now_us() + drive::micros(QUIET);
    while now_us() < quiet_us {
        turn(&mut fleet, &mut publisher, &mut crowd)?;
    }
    Ok(report(args, seconds, &fleet, &publisher, &crowd))
}

fn turn(fleet: &mut Fleet, publisher: &mut Publisher, crowd: &mut Crowd) -> anyhow::Result<()> {
    let now = now_us();
    publisher.pump(fleet, now);
    crowd.pump(fleet, now);
    fleet.turn(TURN)?;
    for note in fleet.take_notes() {
        publisher.note(&note, &mut fleet.shared);
        crowd.note(&note, fleet);
    }
    fleet.shared.receipts.clear();
    Ok(())
}

/// Everybody is in the lively room and in one of the small ones.
fn clients(args: &AttendArgs, server: &Server) -> anyhow::Result<(Fleet, Vec<Stream>)> {
    let (mut fleet, signer) = server.fleet()?;
    let gateways = server.ready.urls.len();
    let everybody = args.subscribers as usize;
    let mut room = |room: &str| fleet.shared.parser.room(&format!("{}-{room}", args.name));
    let hot = room("hot");
    let small: Vec<_> = (0..args.rooms).map(|number| room(&number.to_string())).collect();
    for number in 0..everybody {
        let rooms = std::iter::once(hot).chain(small.get(number % small.len().max(1)).copied()).collect();
        fleet.add(Identity {
            endpoint: number % gateways,
            token: signer.sign(&format!("{}-{number}", args.name), Some(Lane::Protected))?,
            rooms,
            // Nothing is left out for a budget: what is declared missing was lost on the way.
            max_rate: Some(0),
            ..Identity::default()
        });
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let speakers = ((args.rate / PER_PUBLISHER).ceil() as usize + 1).clamp(1, everybody);
    let lively = Stream {
        conns: (0..speakers).collect(),
        room: hot,
        lane: Lane::Normal,
        rate_per_s: args.rate,
        payload_bytes: 100,
    };
    let quiet = small.iter().enumerate().map(|(place, room)| Stream {
        conns: (place..everybody).step_by(small.len()).collect(),
        room: *room,
        lane: Lane::Protected,
        rate_per_s: SMALL_RATE,
        payload_bytes: 100,
    });
    let streams = std::iter::once(lively).chain(quiet).filter(|stream| !stream.conns.is_empty()).collect();
    Ok((fleet, streams))
}

/// Becomes true when nothing more can come on stdin; never if nobody waits for that.
fn end_of_stdin(never: bool) -> anyhow::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    if never {
        return Ok(ended);
    }
    let theirs = Arc::clone(&ended);
    let wait = move || {
        let mut space = [0; 256];
        while std::io::stdin().read(&mut space).is_ok_and(|bytes| bytes > 0) {}
        theirs.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(wait).context("cannot start a thread")?;
    Ok(ended)
}

fn tell(fleet: &Fleet, publisher: &Publisher, crowd: &Crowd) -> anyhow::Result<()> {
    let now = Now {
        ready: fleet.conns().iter().filter(|conn| conn.is_ready()).count(),
        goaways: crowd.goaways,
        disconnects: crowd.disconnects,
        late: fleet.shared.late,
        not_resumed: crowd.sessions_lost + crowd.partly,
        silences: fleet.shared.silence.long,
        published: publisher.total().accepted,
        delivered: fleet.shared.stats.delivered,
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&now)?).context("cannot write to stdout")?;
    stdout.flush().context("cannot write to stdout")
}

fn report(args: &AttendArgs, seconds: f64, fleet: &Fleet, publisher: &Publisher, crowd: &Crowd) -> Report {
    let verdict = Verdict::of(fleet, |_| true);
    let total = publisher.total();
    let silence = &fleet.shared.silence;
    let cut = crowd.disconnects + crowd.sessions_lost + crowd.partly + silence.long;
    let mut report = Report {
        scenario: "attend",
        subscribers: Some(u64::from(args.subscribers)),
        rooms: Some(u64::from(args.rooms)),
        rate_per_s: Some(args.rate),
        seconds: Some(seconds),
        published: Some(total.accepted),
        publish_limited: Some(total.limited),
        publish_refused: Some(total.refused),
        delivered: Some(fleet.shared.stats.delivered),
        declared_gaps: Some(verdict.declared()),
        lost: Some(verdict.lost()),
        duplicated: Some(verdict.faults.duplicated + fleet.shared.parser.conflicts()),
        reordered: Some(verdict.faults.reordered),
        unannounced_epochs: Some(verdict.faults.unannounced),
        latency_ms: fleet.shared.stats.all_lanes().percentiles(),
        sessions_lost: Some(crowd.sessions_lost),
        recovered_partly: Some(crowd.partly),
        goaways: Some(crowd.goaways),
        late: Some(fleet.shared.late),
        silences: Some(silence.long),
        gap_ms: silence.times.percentiles(),
        moved_gap_ms: silence.moved.percentiles(),
        cut_off: Some(cut),
        lanes: lanes(&verdict, publisher),
        ..Report::default()
    };
    report.judge();
    // Of a process that dies, what the lower lanes had on their way may be declared missing.
    let kept = if args.may_cut { 2 } else { verdict.lanes.len() };
    let missing = verdict.lanes.iter().take(kept).map(|lane| lane.declared).sum::<u64>();
    report.promise(missing == 0, || format!("{missing} messages of lanes 0-{} were declared missing", kept - 1));
    report.promise(crowd.is_complete(fleet), || "not everybody was back at the end".to_owned());
    report.promise(args.may_cut || cut == 0, || format!("{cut} sessions were cut off"));
    report.disconnects = Some(crowd.disconnects);
    if !report.passed() {
        report.broken.extend(crowd.first_end.iter().map(|end| format!("the first connection to end was told: {end}")));
        report.broken.extend(publisher.first_refusal.iter().map(|why| format!("the first refused publish: {why}")));
    }
    report.tell_losses(fleet, |_| true);
    report
}

fn lanes(verdict: &Verdict, publisher: &Publisher) -> Vec<LaneReport> {
    let lane =
        |(number, (lane, published)): (u8, (&super::checker::LaneVerdict, &super::publisher::Published))| LaneReport {
            lane: number,
            published: published.accepted,
            received: lane.received,
            declared_gaps: lane.declared,
            lost: lane.lost,
            latency_ms: None,
        };
    (0..).zip(verdict.lanes.iter().zip(&publisher.measured)).map(lane).filter(|lane| lane.published > 0).collect()
}
