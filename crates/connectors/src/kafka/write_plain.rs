//! A write without transactions: outputs and journal first, then the positions. What is sent again may be there twice.

use millstream_core::Result;

use super::decide::{Call, Class, classify};
use super::store::Keeps;
use super::write::{Failed, Trouble, Write};

impl Write<'_> {
    pub(super) fn at_least_once(&mut self) -> Result<()> {
        self.store.ready(self.producing)?;
        loop {
            self.leave_out_ended();
            if self.parts.is_empty() {
                return Ok(());
            }
            let delivered = self.send().and_then(|()| self.drain());
            match delivered {
                Ok(()) => break,
                Err(Trouble::Error(error)) => return Err(error),
                Err(Trouble::Failed(failed)) => self.written_again(&failed)?,
            }
            self.rest();
        }
        loop {
            self.leave_out_ended();
            if self.parts.is_empty() {
                return Ok(());
            }
            let committed = match &self.store.keeps {
                Keeps::Offsets { group, .. } => match group.member() {
                    Some(member) => self.offsets().map_err(Trouble::from).and_then(|offsets| {
                        member
                            .commit(&offsets)
                            .map_err(|f| Trouble::Failed(Failed { call: Call::Offsets, failure: f, record: None }))
                    }),
                    None => {
                        group.end_all();
                        continue;
                    }
                },
                Keeps::Records => self.send_records().and_then(|()| self.drain()),
            };
            match committed {
                Ok(()) => return Ok(()),
                Err(Trouble::Error(error)) => return Err(error),
                Err(Trouble::Failed(failed)) => {
                    let class = classify(failed.call, &failed.failure);
                    if class == Class::Refused || self.store.reader.patience.is_over() {
                        return Err(self.ended(&failed, false));
                    }
                    if let Keeps::Offsets { group, .. } = &self.store.keeps {
                        // Ends the leases if the member was out.
                        drop(group.place());
                    }
                }
            }
            self.rest();
        }
    }

    /// Whether records that were not delivered may be sent again, perhaps by a new producer.
    fn written_again(&mut self, failed: &Failed) -> Result<()> {
        let class = classify(failed.call, &failed.failure);
        if class == Class::Refused || self.store.reader.patience.is_over() {
            return Err(self.ended(failed, false));
        }
        self.check_topics(failed)?;
        if let Some(writer) = &mut self.producing.writer {
            // What is still on its way is sent again too: better twice than not.
            writer.client.purge();
            writer.serve();
            writer.forget_undelivered();
            if class == Class::Cut || writer.client.fatal().is_some() {
                self.producing.writer = None;
            }
        }
        self.store.ready(self.producing)
    }
}
