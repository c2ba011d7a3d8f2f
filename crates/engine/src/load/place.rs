//! Where a pipeline commits and keeps its state, and how systems outside are reached.

use millstream_config::codes::NO_EFFECT;
use millstream_config::{Diagnostic, Span};
use millstream_connectors::backend::{self, Choice};
use millstream_connectors::codes::KAFKA_CLUSTERS;
use millstream_connectors::{SinkSpec, SourceSpec, registry};

use super::Loader;
use crate::plan::{DEAD_LETTERS, PlannedOutput, PlannedSource};

impl Loader<'_> {
    /// Checks the connections, those that nothing uses among them.
    pub(super) fn connections(&mut self) {
        for connection in &self.pipeline.connections {
            registry::connection(&connection.connector, &mut self.cx);
        }
    }

    /// What the pipeline commits to, if its source and outputs can share it.
    pub(super) fn backend(
        &mut self,
        source: &PlannedSource,
        outputs: &[PlannedOutput],
        dead_letters: Option<&PlannedOutput>,
    ) -> Option<Choice> {
        let sinks: Vec<(&str, &dyn SinkSpec)> =
            outputs.iter().chain(dead_letters).map(|o| (o.name.as_str(), o.spec.as_ref())).collect();
        let useless = match source.spec.kafka() {
            None => Some((
                "`standby` has no effect here: only the partitions of a Kafka source are shared out to processes",
                "remove `standby`",
            )),
            Some(input) if !input.members_are_known() => Some((
                "`standby` has no effect with `protocol: consumer`: its members can't be known to each other yet",
                "use `protocol: classic`, or remove `standby`",
            )),
            Some(_) => None,
        };
        if let Some((message, help)) = useless.filter(|_| self.pipeline.standby.value > 0) {
            self.cx.push(Diagnostic::error(NO_EFFECT, self.pipeline.standby.span, message).help(help));
        }
        match backend::choose(source.spec.as_ref(), &sinks, self.pipeline.delivery.value) {
            Ok(choice) => Some(choice),
            Err(clash) => {
                let span = clash.output.as_deref().map_or(self.pipeline.delivery.span, |name| self.span_of(name));
                self.cx.push(Diagnostic::error(KAFKA_CLUSTERS, span, clash.message).help(clash.help));
                None
            }
        }
    }

    /// The place of an output's name.
    fn span_of(&self, output: &str) -> Span {
        let dead_letters = self.pipeline.dead_letters.as_ref().filter(|_| output == DEAD_LETTERS).map(|d| d.span);
        let named = self.pipeline.outputs.iter().find(|o| o.name.value == output).map(|o| o.name.span);
        dead_letters.or(named).unwrap_or(self.pipeline.delivery.span)
    }

    /// Warns of what may go wrong with an input later.
    pub(super) fn doubts(&mut self, spec: &dyn SourceSpec, span: Span) {
        match spec.doubts(&self.env, self.pipeline.snapshot_every) {
            Ok(doubts) => {
                for doubt in doubts {
                    let severity = millstream_config::Severity::Warning;
                    self.cx.push(Diagnostic { severity, ..Diagnostic::from_error(&doubt, span) });
                }
            }
            Err(error) => self.error(&error, span),
        }
    }

    /// Where snapshots go: a URL, or a folder as this process can open it.
    pub(super) fn state(&self) -> String {
        match &self.pipeline.state {
            Some(state) if state.value.contains("://") => state.value.clone(),
            Some(state) => self.env.resolve(&state.value).display().to_string(),
            None => self.env.data_dir().join("state").display().to_string(),
        }
    }
}
