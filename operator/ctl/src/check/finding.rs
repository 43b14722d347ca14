//! What a check found.

use serde::Serialize;

use crate::text::{Branch, Cell, Tone};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What to do about it; empty: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// As it should be.
    Fine,
    /// Nobody can tell from here.
    Unknown,
    /// It works and may surprise.
    Warning,
    /// It does not work.
    Problem,
}

impl Finding {
    /// Something as it should be.
    #[must_use]
    pub fn fine(what: &str, found: impl Into<String>) -> Self {
        Self { level: Level::Fine, what: what.into(), found: found.into(), remedy: String::new() }
    }

    /// Something that nobody can tell from here.
    #[must_use]
    pub fn unknown(what: &str, found: impl Into<String>) -> Self {
        Self { level: Level::Unknown, ..Self::fine(what, found) }
    }

    /// Something that may surprise.
    #[must_use]
    pub fn warning(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, remedy: remedy.into(), ..Self::fine(what, found) }
    }

    /// Something that does not work.
    #[must_use]
    pub fn problem(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Problem, remedy: remedy.into(), ..Self::fine(what, found) }
    }

    fn line(&self) -> Branch {
        let (mark, tone) = match self.level {
            Level::Fine => ("ok", Tone::Good),
            Level::Unknown => ("?", Tone::Dim),
            Level::Warning => ("warning", Tone::Busy),
            Level::Problem => ("problem", Tone::Bad),
        };
        let line =
            Branch::of(vec![Cell::new(tone, mark), Cell::new(Tone::Strong, &self.what), Cell::plain(&self.found)]);
        let remedy = Some(&self.remedy).filter(|remedy| !remedy.is_empty());
        line.with(remedy.map(|remedy| Branch::text(remedy.clone())).into_iter().collect())
    }
}

/// All of them, as lines, and how many of each.
#[must_use]
pub fn lines(findings: &[Finding]) -> Vec<Branch> {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings, unknown) = (count(Level::Problem), count(Level::Warning), count(Level::Unknown));
    let tone = if problems > 0 { Tone::Bad } else { Tone::Good };
    let total = format!("{problems} problems, {warnings} warnings, {unknown} that cannot be known from here");
    findings.iter().map(Finding::line).chain([Branch::of(vec![Cell::new(tone, total)])]).collect()
}

/// Whether something does not work.
#[must_use]
pub fn is_broken(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Problem)
}
