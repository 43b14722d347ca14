//! Writing JSON objects straight into the bytes of a frame.

use std::io::Write as _;

use throng_core::{Gap, Message, Seqs};

/// A JSON object being written. By hand, because a segment is written once for thousands of readers and its `data` is
/// copied as it came.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    pub(super) fn close(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        quoted(key, self.out);
        self.out.push(b':');
    }

    pub(super) fn nested(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let mut inner = Object::open(self.out);
        fields(&mut inner);
        inner.close();
    }

    pub(super) fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        digits(number, self.out);
    }

    pub(super) fn number_if(&mut self, key: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    pub(super) fn number_unless_zero(&mut self, key: &str, number: u64) {
        self.number_if(key, (number != 0).then_some(number));
    }

    pub(super) fn flag(&mut self, key: &str, flag: bool) {
        self.key(key);
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        quoted(text, self.out);
    }

    pub(super) fn text_if(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    pub(super) fn texts(&mut self, key: &str, texts: &[String]) {
        if texts.is_empty() {
            return;
        }
        self.key(key);
        self.array(texts, |text, out| quoted(text, out));
    }

    pub(super) fn raw(&mut self, key: &str, json: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(json);
    }

    pub(super) fn seqs(&mut self, key: &str, seqs: Seqs) {
        self.key(key);
        self.array(seqs.0, digits);
    }

    pub(super) fn messages<'m>(&mut self, messages: impl Iterator<Item = &'m Message>) {
        self.key("messages");
        self.array(messages, |message, out| {
            let mut object = Object::open(out);
            object.number("lane", u64::from(message.lane.number()));
            object.number("seq", message.seq);
            object.text("from", message.from.as_str());
            object.text("type", &message.kind);
            object.raw("data", &message.data);
            object.number("at_ms", message.at_ms.0);
            object.close();
        });
    }

    pub(super) fn gaps(&mut self, gaps: &[Gap]) {
        if gaps.is_empty() {
            return;
        }
        self.key("gaps");
        self.array(gaps, |gap, out| {
            let mut object = Object::open(out);
            object.number("epoch", gap.epoch.0);
            object.number("lane", u64::from(gap.lane.number()));
            object.number("from", gap.from);
            object.number("to", gap.to);
            object.close();
        });
    }

    fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(T, &mut Vec<u8>)) {
        self.out.push(b'[');
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            each(item, self.out);
        }
        self.out.push(b']');
    }
}

fn digits(number: u64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number}");
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    // Writing text to a Vec cannot fail either.
    let _ = serde_json::to_writer(&mut *out, text);
}
