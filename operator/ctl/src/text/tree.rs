//! Trees of lines that fit a terminal: cells of siblings stand below each other while there is room, long lines are wrapped
//! under themselves, and nothing is cut: whoever reads a name can copy it.

/// One line of a tree, and what hangs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// What the line says, in parts.
    pub cells: Vec<Cell>,
    /// What hangs on it.
    pub below: Vec<Self>,
    /// Its cells stand below those of its siblings that are rows too.
    pub row: bool,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How it is shown where colours are.
    pub tone: Tone,
}

/// How a text is shown where colours are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As any other.
    #[default]
    Plain,
    /// What the eye should find first.
    Strong,
    /// What is there for completeness.
    Dim,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look at it.
    Bad,
}

impl Tone {
    /// The sequence that begins it (ECMA-48, SGR); none for what is shown as any other.
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// What the guides of a tree are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Box drawing characters.
    Unicode,
    /// What every terminal has.
    Ascii,
}

impl Glyphs {
    /// Before a sibling that others follow, before the last one, below the first kind, below the last one.
    const fn all(self) -> [&'static str; 4] {
        match self {
            Self::Unicode => ["├─ ", "└─ ", "│  ", "   "],
            Self::Ascii => ["|- ", "`- ", "|  ", "   "],
        }
    }
}

/// How a tree is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; none: lines may be as long as they are.
    pub width: Option<usize>,
    /// Colours are shown.
    pub colour: bool,
    /// What guides are drawn with.
    pub glyphs: Glyphs,
}

impl Style {
    /// For files and pipes.
    pub const PLAIN: Self = Self { width: None, colour: false, glyphs: Glyphs::Unicode };
}

impl Branch {
    /// A line of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(vec![Cell::plain(text)])
    }

    /// A line of several parts.
    #[must_use]
    pub const fn of(cells: Vec<Cell>) -> Self {
        Self { cells, below: Vec::new(), row: false }
    }

    /// A line whose parts stand below those of its siblings.
    #[must_use]
    pub const fn row(cells: Vec<Cell>) -> Self {
        Self { cells, below: Vec::new(), row: true }
    }

    /// The same with what hangs on it.
    #[must_use]
    pub fn with(mut self, below: Vec<Self>) -> Self {
        self.below = below;
        self
    }
}

impl Cell {
    /// A part in a tone.
    #[must_use]
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }

    /// A part as any other.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Tone::Plain, text)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Draws trees below each other. Every line ends with a line feed; no line ends with a space.
#[must_use]
pub fn render(roots: &[Branch], style: Style) -> String {
    let mut page = String::new();
    for root in roots {
        draw_line(root, &[], ["", if root.below.is_empty() { "  " } else { style.glyphs.all()[2] }], style, &mut page);
        draw(&root.below, "", style, &mut page);
    }
    page
}

fn draw(branches: &[Branch], before: &str, style: Style, page: &mut String) {
    let [fork, end, bar, blank] = style.glyphs.all();
    let widths = widths(branches, before.chars().count() + 3, style);
    for (at, branch) in branches.iter().enumerate() {
        let last = at + 1 == branches.len();
        let below = format!("{before}{}", if last { blank } else { bar });
        let hanging = format!("{below}{}", if branch.below.is_empty() { "  " } else { bar });
        let first = format!("{before}{}", if last { end } else { fork });
        draw_line(branch, if branch.row { &widths } else { &[] }, [&first, &hanging], style, page);
        draw(&branch.below, &below, style, page);
    }
}

/// Width of each column of the rows; none where they would not fit.
fn widths(branches: &[Branch], indent: usize, style: Style) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in branches.iter().filter(|branch| branch.row) {
        for (at, cell) in row.cells.iter().enumerate() {
            match widths.get_mut(at) {
                Some(width) => *width = (*width).max(cell.width()),
                None => widths.push(cell.width()),
            }
        }
    }
    let whole = indent + widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    if style.width.is_some_and(|width| whole > width) { Vec::new() } else { widths }
}

/// Draws one line, wrapped between words; its first piece comes after the first of `before`, the others after the second.
fn draw_line(branch: &Branch, widths: &[usize], before: [&str; 2], style: Style, page: &mut String) {
    let [first, hanging] = before;
    let room = style.width.unwrap_or(usize::MAX);
    page.push_str(first);
    let (mut column, mut fresh, mut owed) = (first.chars().count(), true, 0);
    for (at, cell) in branch.cells.iter().enumerate().filter(|(_, cell)| !cell.text.is_empty() || !widths.is_empty()) {
        let mut gap = if at == 0 { 0 } else { 2 + owed };
        for word in cell.text.split(' ').filter(|word| !word.is_empty()) {
            let width = word.chars().count();
            if !fresh && column + gap + width > room {
                page.push('\n');
                page.push_str(hanging);
                (column, fresh) = (hanging.chars().count(), true);
            }
            let gap_now = if fresh { 0 } else { gap };
            page.extend(std::iter::repeat_n(' ', gap_now));
            push_word(word, cell.tone, style.colour, page);
            column += gap_now + width;
            (fresh, gap) = (false, 1);
        }
        let missing = widths.get(at).map_or(0, |width| width - cell.width());
        owed = if cell.text.is_empty() { gap + missing } else { missing };
    }
    page.push('\n');
}

fn push_word(word: &str, tone: Tone, colour: bool, page: &mut String) {
    let code = if colour { tone.code() } else { "" };
    page.push_str(code);
    page.push_str(word);
    if !code.is_empty() {
        page.push_str("\x1b[0m");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pods() -> Vec<Branch> {
        let row = |name: &str, node: &str, state| {
            Branch::row(vec![Cell::plain(name), Cell::plain(node), Cell::new(Tone::Good, state)])
        };
        let pods = vec![row("live-gateway-7-0", "node-a", "serves"), row("live-gateway-7-10", "", "starting")];
        vec![Branch::text("live").with(vec![Branch::text("gateway").with(pods), Branch::text("why")])]
    }

    #[test]
    fn rows_stand_below_each_other() {
        let text = render(&pods(), Style::PLAIN);
        assert_eq!(
            text,
            "live\n├─ gateway\n│  ├─ live-gateway-7-0   node-a  serves\n│  └─ live-gateway-7-10          starting\n└─ why\n"
        );
    }

    #[test]
    fn where_there_is_no_room_lines_are_wrapped_under_themselves_and_no_word_is_cut() {
        let style = Style { width: Some(24), glyphs: Glyphs::Ascii, ..Style::PLAIN };
        let text = render(&pods(), style);
        assert_eq!(
            text,
            "live\n|- gateway\n|  |- live-gateway-7-0\n|  |    node-a  serves\n|  `- live-gateway-7-10\n|       starting\n`- why\n"
        );
    }

    #[test]
    fn colours_surround_words_only() {
        let line = Branch::of(vec![Cell::new(Tone::Bad, "two words"), Cell::plain("x")]);
        let style = Style { colour: true, ..Style::PLAIN };
        assert_eq!(render(&[line], style), "\x1b[31mtwo\x1b[0m \x1b[31mwords\x1b[0m  x\n");
    }

    fn branch() -> impl Strategy<Value = Branch> {
        let cell = prop_oneof![Just(String::new()), "[a-z]{1,9}( [a-z]{1,9}){0,4}"].prop_map(Cell::plain);
        let leaf = (prop::collection::vec(cell, 1..5), any::<bool>()).prop_map(|(cells, row)| Branch {
            cells,
            below: vec![],
            row,
        });
        leaf.prop_recursive(3, 24, 5, |inner| {
            (inner.clone(), prop::collection::vec(inner, 0..5)).prop_map(|(line, below)| line.with(below))
        })
    }

    proptest! {
        /// Whatever the width: no word is lost or moved, no line is longer than the terminal unless a single word is, and no
        /// line ends with a space.
        #[test]
        fn every_width_shows_the_same_words(tree in branch(), width in 20_usize..120) {
            let words = |text: &str| -> Vec<String> {
                let letters = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
                text.split_whitespace().filter(letters).map(str::to_owned).collect()
            };
            let wide = render(std::slice::from_ref(&tree), Style::PLAIN);
            let narrow = render(std::slice::from_ref(&tree), Style { width: Some(width), ..Style::PLAIN });
            prop_assert_eq!(words(&wide), words(&narrow));
            for line in narrow.lines() {
                let fits = line.chars().count() <= width;
                prop_assert!(fits || words(line).len() == 1, "{:?}", line);
                prop_assert!(!line.ends_with(' ') || words(line).is_empty(), "{:?}", line);
            }
        }
    }
}
