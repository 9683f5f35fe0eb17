//! Which text lies over the view.

/// What is shown, and how far it is scrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlay {
    pub content: Content,
    /// The first row shown.
    pub offset: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Help,
    /// Everything that happened, newest last.
    Events,
    /// The answer to a command.
    Answer {
        title: String,
        lines: Vec<String>,
    },
}
