//! The figures that the test command measures.
//!
//! What is promised is known to `throng bench` alone: it exits 1 when a promise was broken or a bound missed, and its report
//! says which. Here is only which runs there are, and what a missed bound may be excused with: the machine of a test is shared, so
//! bounds on time are so many times as wide as the caller says, and a run that misses one is repeated.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All was kept and met.
    Passed,
    /// A bound on cost or time was missed, and nothing else: the machine may have been busy.
    Missed,
    /// A promise was broken.
    Broken,
}

/// Reads the verdict of a report.
pub(crate) fn judge(report: &str) -> Result<Verdict> {
    let report: Value = serde_json::from_str(report.trim()).context("the bench printed no report")?;
    let broken = report.get("broken").and_then(Value::as_array).context("the report has no `broken`")?;
    let bounds = report.get("bounds").and_then(Value::as_array).context("the report has no `bounds`")?;
    ensure!(!bounds.is_empty(), "the run has no bounds: its load is not the stated one");
    let met = bounds.iter().all(|bound| bound.get("met").and_then(Value::as_bool) == Some(true));
    Ok(match (broken.is_empty(), met) {
        (false, _) => Verdict::Broken,
        (true, false) => Verdict::Missed,
        (true, true) => Verdict::Passed,
    })
}

/// The runs, as arguments of `throng bench`; shortened unless `full`, without cut links where nobody may cut them. Bounds on
/// time are `slack` times as wide as promised.
pub(crate) fn figures(full: bool, slack: f64, cuts: bool) -> Vec<String> {
    let (fanout_s, joins_s) = if full { (20, 30) } else { (10, 10) };
    // The move of all slots and the cut of a chatroom Pod by themselves: straight after other faults two full cores are still
    // busy with what those left.
    let blows = if cuts {
        "chatroom-kill,chatroom-stop,message-kill,message-stop,message-cut"
    } else {
        "chatroom-kill,chatroom-stop,message-kill,message-stop"
    };
    let cut = cuts.then_some("chatroom-cut");
    let failover = |faults: &str| format!("failover --members 1000 --rate 100 --rooms 4000 --faults {faults}");
    let failovers = if full {
        let all: Vec<&str> = [blows].into_iter().chain(cut).chain(["move"]).collect();
        vec![failover(&all.join(",")) + " --times 5"]
    } else {
        [blows].into_iter().chain(cut).chain(["move"]).map(failover).collect()
    };
    let fanout = format!("fanout --subscribers 5000 --seconds {fanout_s} --gateways 1");
    let runs = [
        format!("{fanout} --max-rate 0 --rate 200"),
        format!("{fanout} --max-rate 0 --rate 20"),
        format!("{fanout} --max-rate 0 --rate 4"),
        "idle --connections 15000".to_owned(),
        format!("joins --connections 10000 --rate 20000 --seconds {joins_s}"),
        "storm --connections 8000".to_owned(),
        format!("slow --subscribers 2000 --stalled-percent 20 --overload 5 --seconds {fanout_s}"),
        // With the default budget a flooded room costs its viewers hardly more than a lively one.
        format!("{fanout} --rate 1000 --baseline-rate 40"),
    ];
    runs.into_iter().chain(failovers).map(|run| format!("{run} --slack {slack}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_never_excused_and_a_missed_bound_is_told_apart() {
        let report = |broken: &str, met: bool| {
            format!(r#"{{"bounds":[{{"name":"x","met":true}},{{"name":"y","met":{met}}}],"broken":[{broken}]}}"#)
        };
        assert_eq!(judge(&report("", true)).unwrap(), Verdict::Passed);
        assert_eq!(judge(&report("", false)).unwrap(), Verdict::Missed);
        assert_eq!(judge(&report(r#""lost""#, true)).unwrap(), Verdict::Broken);
        assert_eq!(judge(&report(r#""lost""#, false)).unwrap(), Verdict::Broken);
    }

    #[test]
    fn a_run_without_bounds_proves_nothing() {
        assert!(judge(r#"{"bounds":[],"broken":[]}"#).is_err());
        assert!(judge(r#"{"broken":[]}"#).is_err());
        assert!(judge("").is_err());
    }
}
