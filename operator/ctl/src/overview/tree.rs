//! An overview as a tree of lines.

use throng_core::Role;
use throng_plan::status::{Condition, DrainCause, EventPhase, EventStatus, Holds, OperationPhase, RolloutPhase, Utc};

use super::pods::{PodView, State};
use super::pools::PoolView;
use super::{OperationView, Overview, RolloutView, is_bad};
use crate::text::{Branch, Cell, Tone, ago, count, left, many, span};

/// Of a pool with more Pods than this, those that merely serve are counted and not named.
const NAMED_PODS: usize = 20;

/// Draws it; `every_pod`: names the Pods of large pools too.
#[must_use]
pub fn tree(overview: &Overview, every_pod: bool) -> Branch {
    let head = Branch::of(vec![
        Cell::new(Tone::Strong, &overview.name),
        Cell::new(Tone::Dim, format!("in {}", overview.namespace)),
        Cell::new(overview.phase.tone(), overview.phase.to_string()),
    ]);
    let mut below = vec![totals(overview)];
    below.extend(revisions(overview));
    below.extend(overview.rollout.as_ref().map(|rollout| rollout_line(rollout, overview)));
    below.extend(rollback(overview));
    below.extend(Role::ALL.map(|role| pool(role, overview.pools.of(role), every_pod, overview.now)));
    below.extend(moves(overview));
    let now = overview.now;
    below.extend(group("events", overview.events.iter().map(|event| event_line(event, now)).collect()));
    below.extend(group("operations", overview.operations.iter().map(|one| operation_line(one, now)).collect()));
    below.extend(group("conditions", overview.conditions.iter().map(|one| condition_line(one, now)).collect()));
    below.extend(group("why", overview.why.iter().map(Branch::text).collect()));
    let note = |note: &String| Branch::of(vec![Cell::new(Tone::Busy, note)]);
    below.extend(group("not seen", overview.notes.iter().map(note).collect()));
    head.with(below)
}

fn group(name: &str, lines: Vec<Branch>) -> Option<Branch> {
    (!lines.is_empty()).then(|| Branch::of(vec![Cell::new(Tone::Strong, name)]).with(lines))
}

fn totals(overview: &Overview) -> Branch {
    let mut cells = vec![Cell::plain(many(overview.users, "user"))];
    if !overview.ready.is_empty() {
        cells.push(Cell::plain(format!("{} Pods serve", overview.ready)));
        cells.push(Cell::plain(format!("pressure {}", overview.pressure)));
    }
    Branch::of(cells)
}

/// The revision that has the users, and those beside it that have Pods.
fn revisions(overview: &Overview) -> Option<Branch> {
    let number = overview.revision?;
    let Some(serving) = overview.revision_of(number) else {
        return Some(Branch::of(vec![Cell::plain(format!("revision {number}")), Cell::plain(&overview.image)]));
    };
    let age = span(overview.now.0.since(serving.since.0));
    let line = vec![
        Cell::plain(format!("revision {number}")),
        Cell::plain(&serving.image),
        Cell::new(Tone::Dim, format!("{} for {age}", format!("{:?}", serving.state).to_lowercase())),
    ];
    let others =
        overview.revisions.iter().filter(|other| other.number != number && (other.pods > 0 || other.users > 0));
    let others = others.map(|other| {
        let warm = other.warm_until.map(|until| format!("warm: {}", left(until, overview.now)));
        Branch::row(vec![
            Cell::plain(format!("{} {}", format!("{:?}", other.state).to_lowercase(), other.number)),
            Cell::plain(&other.image),
            Cell::plain(format!("{}/{} serve", other.ready, other.pods)),
            Cell::plain(many(other.users, "user")),
            Cell::new(Tone::Dim, warm.unwrap_or_default()),
        ])
    });
    Some(Branch::of(line).with(others.collect()))
}

fn rollout_line(rollout: &RolloutView, overview: &Overview) -> Branch {
    let status = &rollout.status;
    let (word, tone) = match status.phase {
        RolloutPhase::Halted => ("halted".to_owned(), Tone::Bad),
        RolloutPhase::Paused => ("held".to_owned(), Tone::Busy),
        phase => (format!("{phase:?}").to_lowercase(), Tone::Busy),
    };
    let mut cells = vec![Cell::plain(format!("rollout {} -> {}", status.from, status.to)), Cell::new(tone, word)];
    let step = usize::try_from(status.step).unwrap_or(usize::MAX);
    if step < rollout.steps && status.phase != RolloutPhase::Starting {
        cells.push(Cell::plain(format!("step {} of {}", step + 1, rollout.steps)));
    }
    cells.push(Cell::plain(format!("{} % of users, aims at {} %", status.users_percent, status.target_percent)));
    if let Some(end) = rollout.hold_ends_at.filter(|_| status.phase == RolloutPhase::Canary) {
        cells.push(Cell::plain(format!("hold: {}", left(end, overview.now))));
    }
    cells.push(Cell::new(Tone::Dim, format!("this step for {}", span(overview.now.0.since(status.step_since.0)))));
    let because = status.halted_because.iter().map(|because| Branch::of(vec![Cell::new(Tone::Bad, because)]));
    let by = status.operation.iter().map(|operation| Branch::text(format!("by the operation {operation}")));
    Branch::of(cells).with(because.chain(by).collect())
}

fn rollback(overview: &Overview) -> Option<Branch> {
    let rollback = overview.rollback.as_ref()?;
    let blocked = rollback.blocked_revision.number;
    let done = rollback.done_at.map_or_else(
        || Cell::new(Tone::Busy, format!("users move back ({})", rollback.pace.to_lowercase())),
        |at| Cell::plain(format!("last user back {}", ago(at, overview.now))),
    );
    let cells = vec![
        Cell::plain(format!("rollback {blocked} -> {}", rollback.to)),
        done,
        Cell::new(Tone::Dim, format!("asked for {} by {}", ago(rollback.since, overview.now), rollback.operation)),
    ];
    let block = format!("revision {blocked} gets no users until the spec asks for other Pods");
    Some(Branch::of(cells).with(vec![Branch::text(block)]))
}

fn pool(role: Role, pool: &PoolView, every_pod: bool, now: Utc) -> Branch {
    let short = pool.ready < pool.wanted;
    let size = Cell::new(if short { Tone::Busy } else { Tone::Plain }, format!("{}/{} serve", pool.ready, pool.wanted));
    let per_pod = &pool.per_pod;
    let load = format!("{} {} of {} a Pod", per_pod.load, count(per_pod.mean), count(per_pod.target));
    let number = if per_pod.binds { load } else { format!("of another load; {load}") };
    let tone = if pool.pressure_percent > 100 { Tone::Bad } else { Tone::Plain };
    let mut cells = vec![
        Cell::new(Tone::Strong, role.to_string()),
        size,
        Cell::plain(many(pool.users, "user")),
        Cell::new(tone, format!("pressure {} %", pool.pressure_percent)),
        Cell::new(Tone::Dim, format!("({number})")),
    ];
    if pool.draining > 0 {
        cells.push(Cell::new(Tone::Busy, format!("{} draining", pool.draining)));
    }
    let every_pod = every_pod || pool.pods.len() <= NAMED_PODS;
    let named = |pod: &&PodView| every_pod || pod.state != State::Serves;
    let mut pods: Vec<Branch> = pool.pods.iter().filter(named).map(|pod| pod_line(pod, now)).collect();
    let more = pool.pods.len() - pods.len();
    if more > 0 {
        pods.push(Branch::of(vec![Cell::new(
            Tone::Dim,
            format!("{} that serve: --pods names them", many(more as u64, "Pod")),
        )]));
    }
    Branch::row(cells).with(pods)
}

fn pod_line(pod: &PodView, now: Utc) -> Branch {
    let trouble = pod.trouble.as_ref().filter(|_| matches!(pod.state, State::Fails | State::Over | State::Starting));
    let state = trouble.map_or_else(|| pod.state.to_string(), |trouble| format!("{}: {trouble}", pod.state));
    let restarts = if pod.restarts > 0 { many(u64::from(pod.restarts), "restart") } else { String::new() };
    let node = pod.node.as_deref().unwrap_or(if pod.created.is_some() { "no node yet" } else { "" });
    let cells = vec![
        Cell::plain(&pod.name),
        Cell::new(pod.state.tone(), state),
        Cell::plain(node),
        Cell::plain(&pod.zone),
        Cell::new(Tone::Dim, pod.created.map_or_else(String::new, |at| span(now.0.since(at.0)))),
        Cell::new(Tone::Busy, restarts),
    ];
    let drain = pod.drain.iter().map(|drain| {
        let cause = cause(drain.cause);
        Branch::of(vec![
            Cell::new(Tone::Busy, format!("{} of {} users left", count(drain.users_left), count(drain.users_at_start))),
            Cell::plain(format!("deadline: {}", left(drain.deadline, now))),
            Cell::new(
                Tone::Dim,
                if drain.why.is_empty() { cause.to_owned() } else { format!("{cause}: {}", drain.why) },
            ),
        ])
    });
    Branch::row(cells).with(drain.collect())
}

/// What a Pod is emptied for, in words.
const fn cause(cause: DrainCause) -> &'static str {
    match cause {
        DrainCause::ScaleIn => "scaled in",
        DrainCause::Cordoned => "node cordoned",
        DrainCause::Tainted => "node tainted",
        DrainCause::Eviction => "evicted",
        DrainCause::Deleted => "cluster deleted",
        DrainCause::Rollout => "rollout",
        DrainCause::Rollback => "rollback",
        DrainCause::Operation => "asked for",
    }
}

fn moves(overview: &Overview) -> Option<Branch> {
    let moves = overview.moves.as_ref()?;
    let cell = Cell::plain(format!(
        "slots on their way: {} of rooms, {} of users",
        count(moves.room_slots.into()),
        count(moves.user_slots.into())
    ));
    Some(Branch::of(vec![cell]))
}

fn event_line(event: &EventStatus, now: Utc) -> Branch {
    let (tone, text) = match event.phase {
        EventPhase::Upcoming => (Tone::Dim, format!("starts {}", ago(event.start_time, now))),
        EventPhase::Ramping => (Tone::Busy, format!("gets ready, starts {}", ago(event.start_time, now))),
        EventPhase::Live => (Tone::Busy, format!("live, ends {}", ago(event.end_time, now))),
        EventPhase::Over => (Tone::Dim, format!("over {}", ago(event.end_time, now))),
    };
    Branch::row(vec![Cell::plain(&event.name), Cell::new(tone, text)])
}

fn operation_line(operation: &OperationView, now: Utc) -> Branch {
    let tone = match operation.phase {
        OperationPhase::Succeeded => Tone::Good,
        OperationPhase::Failed => Tone::Bad,
        _ => Tone::Busy,
    };
    let users = operation.users_left.filter(|_| !operation.phase.is_final());
    let mut message = operation.message.clone();
    if let Some(users) = users {
        let users = format!("{} left", many(users, "user"));
        message = if message.is_empty() { users } else { format!("{message} ({users})") };
    }
    Branch::row(vec![
        Cell::plain(&operation.name),
        Cell::plain(&operation.action),
        Cell::new(tone, format!("{:?}", operation.phase).to_lowercase()),
        Cell::new(Tone::Dim, ago(operation.asked_at, now)),
        Cell::plain(message),
    ])
}

fn condition_line(condition: &Condition, now: Utc) -> Branch {
    let tone = if is_bad(condition) { Tone::Bad } else { Tone::Busy };
    let not = match condition.status {
        Holds::True => "",
        Holds::False => "not ",
        Holds::Unknown => "unknown: ",
    };
    Branch::row(vec![
        Cell::new(tone, format!("{not}{}", condition.kind)),
        Cell::plain(&condition.reason),
        Cell::new(Tone::Dim, ago(condition.last_transition_time, now)),
        Cell::plain(&condition.message),
    ])
}
