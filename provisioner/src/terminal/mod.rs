//! What people see: results on stdout, progress on stderr, and errors as they are read.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt::Display;
use std::io::Write;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::args::Output;
use crate::model::error::{Error, ErrorKind, Result};

use harmless::harmless;
use screen::{COLUMNS, Look, Size};

pub(crate) mod format;
mod harmless;
mod progress;
pub(crate) mod screen;
pub(crate) mod table;
mod wrap;

/// Reads a line of the user's answer, without its end; an error of reading is as good as none.
pub type Answers = Box<dyn Fn() -> Pin<Box<dyn Future<Output = String>>>>;

/// Both outputs.
pub(crate) struct Ui {
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    output: Output,
    terminal: bool,
    /// How large the terminal is that stderr is.
    progress: Size,
    screen: Size,
    colour: bool,
    /// The wait that goes on, drawn. Each wait gets a bar of its own: one that was finished draws
    /// itself again when used.
    bar: RefCell<Option<ProgressBar>>,
    said: RefCell<String>,
    /// Lines about calls that `-v` asks for.
    calls: RefCell<Option<UnboundedReceiver<String>>>,
    /// Somebody who answers.
    answers: Option<Answers>,
    /// Whether whoever read the results has gone.
    is_unread: Cell<bool>,
}

impl Ui {
    /// On these streams. `terminal` says that stderr is one and may be drawn on.
    #[must_use]
    pub(crate) fn new(
        out: Box<dyn Write>,
        err: Box<dyn Write>,
        output: Output,
        terminal: bool,
    ) -> Self {
        Self {
            out: RefCell::new(out),
            err: RefCell::new(err),
            output,
            terminal,
            progress: || None,
            screen: || None,
            colour: false,
            bar: RefCell::default(),
            said: RefCell::default(),
            calls: RefCell::default(),
            answers: None,
            is_unread: Cell::default(),
        }
    }

    /// With stdout on this terminal, where it is one.
    #[must_use]
    pub(crate) fn on(self, screen: Size, colour: bool) -> Self {
        Self { screen, colour, ..self }
    }

    /// With stderr on a terminal of this size, where it is one: lines are broken between words.
    #[must_use]
    pub(crate) fn telling_on(self, progress: Size) -> Self {
        Self { progress, ..self }
    }

    /// With somebody who answers what is asked.
    #[must_use]
    pub(crate) fn answered_by(self, answers: Option<Answers>) -> Self {
        Self { answers, ..self }
    }

    /// Asks on stderr, and gives the answer; none when nobody is there to answer.
    ///
    /// # Errors
    /// When stderr can't be written: nobody has seen the question.
    pub(crate) async fn ask(&self, question: &str) -> Result<Option<String>> {
        let Some(answers) = &self.answers else { return Ok(None) };
        self.tell_calls();
        let put = |err: &mut Box<dyn Write>| write!(err, "{question}").and_then(|()| err.flush());
        put(&mut self.err.borrow_mut())
            .map_err(|source| Error::file("asking on stderr", source))?;
        Ok(Some(answers().await))
    }

    /// How results are made for stdout.
    #[must_use]
    pub(crate) fn look(&self) -> Look {
        match (self.screen)() {
            Some((columns, _)) => Look { columns: columns.into(), colour: self.colour },
            None => Look { columns: COLUMNS, colour: false },
        }
    }

    /// How large the terminal is now that stdout is; none where it is none.
    #[must_use]
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        (self.screen)()
    }

    /// How progress is made for stderr.
    #[must_use]
    pub(crate) fn look_of_progress(&self) -> Look {
        let columns = (self.progress)().map_or(COLUMNS, |(columns, _)| columns.into());
        Look { columns, colour: self.terminal }
    }

    /// Whether stdout is a terminal that [`Ui::redraw`] can draw on.
    #[must_use]
    pub(crate) fn can_redraw(&self) -> bool {
        self.output == Output::Table && (self.screen)().is_some()
    }

    /// Whether results are JSON.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Draws a text over the one before; nothing, when stdout is no terminal any more.
    ///
    /// # Errors
    /// When stdout can't be written.
    pub(crate) fn redraw(&self, text: impl FnOnce(Look) -> String) -> Result<()> {
        let Some(size) = (self.screen)() else { return Ok(()) };
        self.put(&screen::frame(&harmless(&text(self.look())), size))
    }

    /// A value as one line of JSON, for readers that follow.
    ///
    /// # Errors
    /// When stdout can't be written.
    pub(crate) fn line<T: Serialize>(&self, value: &T) -> Result<()> {
        self.print(&serde_json::to_string(value).unwrap_or_default())
    }

    /// One that says nothing, for tests.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self::new(Box::new(std::io::sink()), Box::new(std::io::sink()), Output::Table, false)
    }

    /// From now on these lines are said too, before whatever is said after them.
    pub(crate) fn also_tell(&self, lines: UnboundedReceiver<String>) {
        *self.calls.borrow_mut() = Some(lines);
    }

    /// Says the lines that come while nothing else is said; never ends.
    pub(crate) async fn telling(&self) -> Infallible {
        std::future::poll_fn(|context| {
            loop {
                let line = match self.calls.borrow_mut().as_mut() {
                    Some(lines) => lines.poll_recv(context),
                    None => Poll::Pending,
                };
                let Poll::Ready(Some(line)) = line else { return Poll::Pending };
                self.write(&line);
            }
        })
        .await
    }

    /// A line of progress. A stderr that can't be written is nothing to stop for.
    pub(crate) fn say(&self, line: impl Display) {
        self.tell_calls();
        self.write(&line);
    }

    /// Says what was not yet said about calls.
    pub(crate) fn tell_calls(&self) {
        while let Some(Ok(call)) = self.calls.borrow_mut().as_mut().map(UnboundedReceiver::try_recv)
        {
            self.write(&call);
        }
    }

    fn write(&self, line: &dyn Display) {
        let line = harmless(&line.to_string()).into_owned();
        let line = (self.progress)()
            .map_or(line.clone(), |(columns, _)| wrap::wrapped(&line, columns.into()));
        let write = || {
            let _ = writeln!(self.err.borrow_mut(), "{line}");
        };
        match self.bar.borrow().as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Something that the user should know but that stops nothing.
    pub(crate) fn warn(&self, line: impl Display) {
        self.say(format_args!("warning: {line}"));
    }

    /// Shows what is waited for, what was seen, and for how long by now. Without a terminal it is
    /// one line a change.
    pub(crate) fn waiting(&self, what: &str, seen: &str, since: Duration) {
        if self.terminal {
            let text =
                progress::fitted(&harmless(what), &harmless(seen), self.look_of_progress().columns);
            self.bar.borrow_mut().get_or_insert_with(progress::spinner).set_message(text);
            return;
        }
        let change = format!("{what}: {seen}");
        if *self.said.borrow() != change {
            self.say(progress::line(what, seen, since));
            *self.said.borrow_mut() = change;
        }
    }

    /// The wait is over.
    pub(crate) fn waited(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    /// The result: JSON, or the text that `table` makes of it.
    ///
    /// # Errors
    /// When stdout can't be written.
    pub(crate) fn result<T: Serialize>(
        &self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        let text = match self.output {
            // Structs of strings, numbers and times have no way to fail.
            Output::Json => serde_json::to_string_pretty(value).unwrap_or_default(),
            Output::Table => harmless(&table(value)).into_owned(),
        };
        self.print(&text)
    }

    /// A text as the result, such as user data.
    ///
    /// # Errors
    /// When stdout can't be written.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.put(&format!("{text}{end}"))
    }

    /// Whether whoever read the results, such as `head`, has gone: what prints again and again may
    /// end.
    #[must_use]
    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread.get()
    }

    /// Begins a line where the terminal's own `^C` stands.
    pub(crate) fn after_ctrl_c(&self) {
        if self.terminal {
            self.say("");
        }
    }

    fn put(&self, text: &str) -> Result<()> {
        // Before the result, and not somewhere in it or behind it.
        self.tell_calls();
        let mut out = self.out.borrow_mut();
        match write!(out, "{text}").and_then(|()| out.flush()) {
            // Whoever read the result, such as `head`, has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.is_unread.set(true);
                Ok(())
            }
            written => {
                written.map_err(|source| Error::file("writing the result to stdout", source))
            }
        }
    }

    /// An error: what, its causes once each, what was seen last, what to do.
    pub(crate) fn error(&self, error: &Error) {
        self.waited();
        error.failures().iter().for_each(|each| self.error(each));
        // Each problem of the settings is an error of its own; any other text is one, however many
        // lines AWS makes it.
        let each = error.kind() == ErrorKind::Settings;
        for (n, line) in error.to_string().lines().enumerate() {
            let prefix = if n == 0 || each { "error: " } else { "  " };
            self.say(format_args!("{prefix}{line}"));
        }
        let mut cause = error.source();
        while let Some(source) = cause {
            self.say(format_args!("  cause: {source}"));
            cause = source.source();
        }
        if let Some(last) = error.last_seen() {
            self.say(format_args!("  seen last: {last}"));
        }
        let next = error.next();
        if !next.is_empty() {
            self.say(format_args!("  next: {next}"));
        }
    }
}
