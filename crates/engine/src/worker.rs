//! A worker: one thread that owns some tasks outright - their sources, state and open epochs - and a membership in
//! whatever shares the input's partitions out.
//!
//! It takes what has arrived, up to a bound, and never waits to fill a batch (`linger` is 0 unless set). An epoch closes
//! when the input is drained and no commit is on its way, after `epoch_max`, or when its outputs reach a bound. Tasks
//! that are assigned are brought to their committed position by a starter, on another thread, while the others go on;
//! tasks that are taken away finish their epoch first. The thread ends when every input has ended, when it is asked to
//! stop (after committing what it read), or at an error.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use millstream_core::{Change, Error, Lease, Member, Result, TaskId};

use crate::codes::THREAD_FAILED;
use crate::messages::{Cancel, Epoch, Notice, Order, StartOrder, Started};
use crate::owned::{OwnedTask, Surroundings, Turn};

/// The longest nap of a worker with nothing to do: bounds the latency that a lone event sees.
const NAP_MAX: Duration = Duration::from_millis(1);

/// Output bytes of all tasks together that may wait to be committed before nothing more is read.
const UNCOMMITTED_BYTES_MAX: usize = 24 << 20;

/// How often the group is asked which tasks to keep warm copies of.
const WARM_ASK_EVERY: Duration = Duration::from_secs(2);

/// What is known of a task of this worker.
enum Slot {
    /// A starter brings it to its committed position.
    Starting { lease: Lease, cancel: Cancel },
    /// It processes events.
    Running(Box<OwnedTask>),
    /// Its last epoch is with the committer.
    Releasing { lease: Lease },
}

/// What a step of a worker came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done.
    Worked,
    /// There was nothing to do.
    Idle,
    /// The worker has ended, everything committed.
    Done,
}

/// One worker.
pub struct Worker {
    number: usize,
    around: Surroundings,
    member: Box<dyn Member>,
    channels: WorkerChannels,
    slots: BTreeMap<TaskId, Slot>,
    /// Orders that the committer has no room for yet. While there are any, no source is polled.
    outbox: VecDeque<Order>,
    /// Tasks that must be given back once all of them are released.
    handing_over: BTreeSet<TaskId>,
    assigned_once: bool,
    leaving: bool,
    /// When the group was last asked what to keep warm.
    warm_asked: Option<Duration>,
}

/// What a worker hears and says.
pub(crate) struct WorkerChannels {
    pub(crate) starts: SyncSender<StartOrder>,
    pub(crate) started: Receiver<Started>,
    pub(crate) orders: SyncSender<(usize, Order)>,
    pub(crate) notices: Receiver<Notice>,
}

impl Worker {
    /// A worker that its committer knows by `number`.
    pub(crate) fn new(number: usize, around: Surroundings, member: Box<dyn Member>, channels: WorkerChannels) -> Self {
        Self {
            number,
            around,
            member,
            channels,
            slots: BTreeMap::new(),
            outbox: VecDeque::new(),
            handing_over: BTreeSet::new(),
            assigned_once: false,
            leaving: false,
            warm_asked: None,
        }
    }

    /// Runs until the inputs end or the run is asked to stop.
    pub(crate) fn run(&mut self) -> Result<()> {
        let mut nap = Duration::ZERO;
        loop {
            match self.step()? {
                Step::Done => break,
                Step::Worked => nap = Duration::ZERO,
                Step::Idle => {
                    nap = (nap * 2).clamp(Duration::from_micros(50), NAP_MAX);
                    std::thread::sleep(nap);
                }
            }
        }
        self.around.live.merge_stages(&self.around.stages.stages);
        Ok(())
    }

    /// Does what can be done now, without waiting.
    ///
    /// # Errors
    /// What ends the run.
    pub fn step(&mut self) -> Result<Step> {
        let mut worked = self.hear()?;
        while let Some(change) = self.member.poll()? {
            self.change(change)?;
            worked = true;
        }
        worked |= self.take_started()?;
        self.keep_warm()?;
        if self.around.live.stopping() {
            self.begin_to_leave();
        }
        self.send()?;
        if self.outbox.is_empty() && !self.leaving {
            worked |= self.turns()?;
            self.send()?;
        }
        self.hand_over()?;
        if self.is_done() {
            self.member.leave()?;
            return Ok(Step::Done);
        }
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    /// Lets every running task take a turn.
    fn turns(&mut self) -> Result<bool> {
        let mut worked = false;
        let mut epochs: VecDeque<Epoch> = VecDeque::new();
        let uncommitted = |slot: &Slot| if let Slot::Running(owned) = slot { owned.uncommitted() } else { 0 };
        let room = self.slots.values().map(uncommitted).sum::<usize>() < UNCOMMITTED_BYTES_MAX;
        for slot in self.slots.values_mut() {
            if let Slot::Running(owned) = slot
                && !owned.ended
            {
                worked |= owned.turn(room, &mut self.around, &mut epochs)? != Turn::Idle;
            }
        }
        self.outbox.extend(epochs.into_iter().map(Order::Commit));
        Ok(worked)
    }

    /// Hands the committer what it has room for.
    fn send(&mut self) -> Result<()> {
        while let Some(order) = self.outbox.pop_front() {
            match self.channels.orders.try_send((self.number, order)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, order))) => {
                    self.outbox.push_front(order);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => {
                    return Err(Error::new(THREAD_FAILED, "the committer ended before the worker did"));
                }
            }
        }
        Ok(())
    }

    /// Hears what the committer has to say.
    fn hear(&mut self) -> Result<bool> {
        let mut heard = false;
        loop {
            match self.channels.notices.try_recv() {
                Ok(Notice::Done { task, lease }) => {
                    if let Some(Slot::Running(owned)) = self.slots.get_mut(&task)
                        && owned.lease == lease
                    {
                        owned.epoch_done();
                    }
                }
                Ok(Notice::Released { task, lease }) => {
                    if matches!(self.slots.get(&task), Some(Slot::Releasing { lease: held }) if *held == lease) {
                        self.slots.remove(&task);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(heard),
                Err(TryRecvError::Disconnected) => {
                    return Err(Error::new(THREAD_FAILED, "the committer ended before the worker did"));
                }
            }
            heard = true;
        }
    }

    fn change(&mut self, change: Change) -> Result<()> {
        match change {
            // Leaving gives them back; nobody would end what began now.
            Change::Assigned(_) if self.leaving => Ok(()),
            Change::Assigned(tasks) => {
                self.assigned_once = true;
                tracing::debug!(tasks = tasks.len(), "the group assigned tasks to this worker");
                tasks.into_iter().try_for_each(|(task, lease)| self.start(task, lease))
            }
            Change::Revoked(tasks) => {
                tracing::debug!(tasks = %list(&tasks), "the group wants tasks back");
                self.give_up(&tasks, true);
                Ok(())
            }
            Change::Lost(tasks) => {
                tracing::warn!(tasks = %list(&tasks), "the group gave these tasks to someone else; what was not committed is theirs to compute");
                self.give_up(&tasks, false);
                Ok(())
            }
        }
    }

    /// Has a task brought to its committed position.
    fn start(&mut self, task: TaskId, lease: Lease) -> Result<()> {
        let cancel = Cancel::default();
        self.around.live.start_began();
        self.slots.insert(task, Slot::Starting { lease, cancel: cancel.clone() });
        self.channels
            .starts
            .try_send(StartOrder::Start { task, lease, cancelled: cancel })
            .map_err(|_| Error::new(THREAD_FAILED, "the starter ended before the worker did, or has too much to do"))
    }

    /// Has warm copies kept of what the group says this worker may inherit.
    fn keep_warm(&mut self) -> Result<()> {
        let copies = self.around.plan.settings.standby;
        let now = self.around.clock.now();
        if copies == 0 || self.leaving || self.warm_asked.is_some_and(|at| now.saturating_sub(at) < WARM_ASK_EVERY) {
            return Ok(());
        }
        self.warm_asked = Some(now);
        let Some(mut tasks) = self.member.standbys(copies)? else { return Ok(()) };
        tasks.retain(|task| !self.slots.contains_key(task));
        // A starter that is too busy to hear it is asked again.
        drop(self.channels.starts.try_send(StartOrder::Warm(tasks)));
        Ok(())
    }

    /// Takes over what starters have made ready.
    fn take_started(&mut self) -> Result<bool> {
        let mut took = false;
        loop {
            let Started { task, lease, ready } = match self.channels.started.try_recv() {
                Ok(started) => started,
                Err(TryRecvError::Empty) => return Ok(took),
                Err(TryRecvError::Disconnected) => {
                    return Err(Error::new(THREAD_FAILED, "the starter ended before the worker did"));
                }
            };
            took = true;
            self.around.live.start_ended();
            let wanted = matches!(self.slots.get(&task), Some(Slot::Starting { lease: held, .. }) if *held == lease);
            let ready = match ready {
                Ok(Some(ready)) if wanted => ready,
                Err(error) if wanted => return Err(error),
                _ => continue,
            };
            let record = ready.record.clone();
            let outputs = self.around.plan.all_outputs().count();
            let owned = OwnedTask::new(lease, ready, outputs, self.around.clock.now());
            self.slots.insert(task, Slot::Running(Box::new(owned)));
            self.outbox.push_back(Order::Adopt { task, lease, record });
        }
    }

    /// Stops working on tasks; with `finish` their open epochs are committed first.
    fn give_up(&mut self, tasks: &[TaskId], finish: bool) {
        for task in tasks {
            self.handing_over.insert(*task);
            match self.slots.remove(task) {
                Some(Slot::Starting { cancel, .. }) => cancel.cancel(),
                Some(Slot::Running(mut owned)) => {
                    let mut epochs = VecDeque::new();
                    if finish && !owned.ended {
                        owned.close(true, &self.around, &mut epochs);
                    }
                    owned.hide(&self.around.live);
                    let lease = owned.lease;
                    self.outbox.extend(epochs.into_iter().map(Order::Commit));
                    self.outbox.push_back(Order::Release { task: *task, lease });
                    self.slots.insert(*task, Slot::Releasing { lease });
                }
                Some(releasing) => drop(self.slots.insert(*task, releasing)),
                None => {}
            }
        }
    }

    /// Gives back what was taken away, once all of it is released.
    fn hand_over(&mut self) -> Result<()> {
        if self.handing_over.is_empty() || self.handing_over.iter().any(|task| self.slots.contains_key(task)) {
            return Ok(());
        }
        let tasks: Vec<TaskId> = std::mem::take(&mut self.handing_over).into_iter().collect();
        tracing::debug!(tasks = %list(&tasks), "tasks are given back");
        self.member.release(&tasks)
    }

    /// Asked to stop: commits what was read. In a group, the tasks are let go too, for others to take over.
    fn begin_to_leave(&mut self) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let mut epochs = VecDeque::new();
        for slot in self.slots.values_mut() {
            match slot {
                Slot::Starting { cancel, .. } => cancel.cancel(),
                Slot::Running(owned) if !owned.ended => owned.close(true, &self.around, &mut epochs),
                _ => {}
            }
        }
        self.slots.retain(|_, slot| !matches!(slot, Slot::Starting { .. }));
        self.outbox.extend(epochs.into_iter().map(Order::Commit));
        if self.member.is_open() {
            let tasks: Vec<TaskId> = self.slots.keys().copied().collect();
            let before = self.handing_over.clone();
            self.give_up(&tasks, false);
            // Leaving gives them back all at once.
            self.handing_over = before;
        }
    }

    fn is_done(&self) -> bool {
        if !self.outbox.is_empty() || !self.handing_over.is_empty() {
            return false;
        }
        let finished = |slot: &Slot| matches!(slot, Slot::Running(owned) if owned.is_done());
        if self.leaving || !self.member.is_open() {
            return (self.leaving || self.assigned_once) && self.slots.values().all(finished);
        }
        false
    }
}

fn list(tasks: &[TaskId]) -> String {
    tasks.iter().map(TaskId::to_string).collect::<Vec<_>>().join(", ")
}
