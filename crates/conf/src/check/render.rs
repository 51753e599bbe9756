//! A finding as text for a terminal: the lines with their marks, why, and the corrected lines.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::{Finding, Severity};
use crate::source::{File, Sources};

/// Places that are shown; of more, only their number is said.
const MAX_PLACES: usize = 6;
/// Corrections that are shown.
const MAX_EDITS: usize = 2 * MAX_PLACES;

impl Finding {
    /// As text for a terminal or a log. Ends with an empty line.
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.rule.id));
        for number in self.files() {
            if let Some(file) = sources.files().get(number as usize) {
                group = group.element(self.excerpt(number, file));
            }
        }
        if self.places.len() > MAX_PLACES {
            group = group
                .element(Level::NOTE.message(format!("and {} more places", self.places.len() - MAX_PLACES)));
        }
        for help in &self.help {
            group = group.element(Level::NOTE.message(help.as_str()));
        }
        let mut groups = vec![group];
        groups.extend(self.correction(sources));
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        format!("{}\n\n", renderer.decor_style(DecorStyle::Ascii).render(&groups))
    }

    /// Numbers of the files that its places are in, in their order.
    fn files(&self) -> Vec<u32> {
        let mut files: Vec<u32> = Vec::new();
        for place in self.places.iter().take(MAX_PLACES) {
            if !files.contains(&place.span.file) {
                files.push(place.span.file);
            }
        }
        files
    }

    fn excerpt<'a>(&'a self, number: u32, file: &'a File) -> Snippet<'a, Annotation<'a>> {
        let marks =
            self.places.iter().take(MAX_PLACES).enumerate().filter(|(_, place)| place.span.file == number);
        let marks = marks.map(|(at, place)| {
            let kind = if at == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let start = place.span.start as usize;
            // What goes over several lines is marked on its first.
            let line = file.text[start..].lines().next().map_or(0, str::len);
            let end = (place.span.end as usize).min(start + line);
            let mark = kind.span(start..end);
            if place.label.is_empty() { mark } else { mark.label(place.label.as_str()) }
        });
        Snippet::source(file.text.as_str()).path(file.path.to_string_lossy()).annotations(marks)
    }

    fn correction<'a>(&'a self, sources: &'a Sources) -> Option<Group<'a>> {
        if self.fix.is_empty() {
            return None;
        }
        let mut group = Group::with_title(Level::HELP.secondary_title("so that it reads"));
        let shown = &self.fix[..self.fix.len().min(MAX_EDITS)];
        let mut files: Vec<u32> = shown.iter().map(|edit| edit.span.file).collect();
        files.sort_unstable();
        files.dedup();
        for number in files {
            let Some(file) = sources.files().get(number as usize) else { continue };
            let edits = shown.iter().filter(|edit| edit.span.file == number);
            let patches = edits
                .map(|edit| Patch::new(edit.span.start as usize..edit.span.end as usize, edit.text.as_str()));
            group = group.element(
                Snippet::source(file.text.as_str()).path(file.path.to_string_lossy()).patches(patches),
            );
        }
        if self.fix.len() > shown.len() {
            let more = format!("and so in {} more places", self.fix.len() - shown.len());
            group = group.element(Level::NOTE.message(more));
        }
        Some(group)
    }
}
