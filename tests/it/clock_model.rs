//! The publication clock, checked by a model of it: every order in which a few imports and reports may take their steps, with
//! crashes, and with commits that a worker makes visible late.
//!
//! Two promises: nothing appears at or before a moment that a report was fixed to, and a load that is published has all of its
//! records. The ways that this service does not go break them, so that the model is known to see it.

use stateright::{Checker as _, Model, Property};

/// Who is modelled: two imports, and two reports, of which one asks for the newest moment and one for the present.
const IMPORTS: usize = 2;
const REPORTS: usize = 2;
/// How far the time goes on.
const LAST_TIME: u8 = 3;

/// Where tables are, and what imports and reports do.
#[derive(Clone, Debug)]
struct Design {
    /// Records are on workers, which make a commit visible later than the coordinator.
    records_apart: bool,
    /// Loads are there, too.
    loads_apart: bool,
    /// Records are committed before their load is published; otherwise both at once.
    blocks_first: bool,
    /// An import looks whether its records are visible before it publishes them.
    counted: bool,
    /// A report of the present asks who publishes after it has read the time.
    time_before_publisher: bool,
    /// What an import left is deleted only when it is gone.
    sweeps_the_dead_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Nothing is committed.
    Writing,
    /// The records are.
    Written,
    /// Its turn to publish.
    Locked,
    /// With the moment that it has drawn.
    Drawn(u8),
    Published,
    Crashed,
}

/// What of a commit is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Visible {
    Nothing,
    /// It is committed, and will be.
    Later,
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Import {
    step: Step,
    records: Visible,
    load: Visible,
    /// Of the load.
    published_at: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Report {
    Begins,
    /// It has read the time, or who publishes, and not yet the other one.
    AtTime(u8),
    AtPublisher(Option<usize>),
    /// It waits for an import to publish.
    Waits(u8, usize),
    /// Fixed to a moment, with the loads that were visible until then.
    Fixed(u8, [bool; IMPORTS]),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    /// The last moment of a publication.
    clock: u8,
    publisher: Option<usize>,
    imports: [Import; IMPORTS],
    reports: [Report; REPORTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    TimeGoesOn,
    WriteRecords(usize),
    Lock(usize),
    Draw(usize),
    Publish(usize),
    Crash(usize),
    /// A worker catches up.
    RecordsAppear(usize),
    LoadAppears(usize),
    Sweep(usize),
    /// The newest moment.
    FixToClock,
    ReadTime,
    ReadPublisher,
    Fix,
}

// === impl Design ===

impl Design {
    /// One machine.
    fn plain() -> Self {
        Self {
            records_apart: false,
            loads_apart: false,
            blocks_first: true,
            counted: false,
            time_before_publisher: true,
            sweeps_the_dead_only: true,
        }
    }

    /// Records on workers.
    fn distributed() -> Self {
        Self { records_apart: true, counted: true, ..Self::plain() }
    }

    fn committed(is_apart: bool) -> Visible {
        if is_apart { Visible::Later } else { Visible::Yes }
    }
}

// === impl State ===

impl State {
    fn is_published_until(&self, moment: u8) -> [bool; IMPORTS] {
        std::array::from_fn(|n| self.imports[n].load == Visible::Yes && self.imports[n].published_at <= moment)
    }

    fn fixed(&self, moment: u8) -> Report {
        Report::Fixed(moment, self.is_published_until(moment))
    }
}

impl Model for Design {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let import = Import { step: Step::Writing, records: Visible::Nothing, load: Visible::Nothing, published_at: 0 };
        vec![State {
            now: 1,
            clock: 0,
            publisher: None,
            imports: std::array::from_fn(|_| import.clone()),
            reports: [Report::Begins; REPORTS],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < LAST_TIME {
            actions.push(Action::TimeGoesOn);
        }
        for (n, import) in state.imports.iter().enumerate() {
            match import.step {
                Step::Writing if self.blocks_first => actions.push(Action::WriteRecords(n)),
                Step::Writing if state.publisher.is_none() => actions.push(Action::Lock(n)),
                Step::Written if state.publisher.is_none() && (!self.counted || import.records == Visible::Yes) => {
                    actions.push(Action::Lock(n));
                }
                Step::Locked => actions.push(Action::Draw(n)),
                Step::Drawn(_) => actions.push(Action::Publish(n)),
                _ => {}
            }
            if !matches!(import.step, Step::Published | Step::Crashed) {
                actions.push(Action::Crash(n));
            }
            if import.records == Visible::Later {
                actions.push(Action::RecordsAppear(n));
            }
            if import.load == Visible::Later {
                actions.push(Action::LoadAppears(n));
            }
            // Who sweeps sees loads that are visible, and no others.
            let is_dead = import.step == Step::Crashed || !self.sweeps_the_dead_only;
            if is_dead && import.records == Visible::Yes && import.load == Visible::Nothing {
                actions.push(Action::Sweep(n));
            }
        }
        if state.reports[0] == Report::Begins {
            actions.push(Action::FixToClock);
        }
        match state.reports[1] {
            Report::Begins if self.time_before_publisher => actions.push(Action::ReadTime),
            Report::Begins => actions.push(Action::ReadPublisher),
            // No two statements take place in the same microsecond.
            Report::AtTime(moment) if moment < state.now => actions.push(Action::ReadPublisher),
            Report::AtPublisher(_) => actions.push(Action::ReadTime),
            Report::Waits(_, publisher) if state.publisher != Some(publisher) => actions.push(Action::Fix),
            _ => {}
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::TimeGoesOn => state.now += 1,
            Action::WriteRecords(n) => {
                state.imports[n].records = Self::committed(self.records_apart);
                state.imports[n].step = Step::Written;
            }
            Action::Lock(n) => {
                state.publisher = Some(n);
                state.imports[n].step = Step::Locked;
            }
            Action::Draw(n) => state.imports[n].step = Step::Drawn(last.now.max(last.clock + 1)),
            Action::Publish(n) => {
                let Step::Drawn(moment) = last.imports[n].step else { return None };
                let import = &mut state.imports[n];
                if !self.blocks_first {
                    import.records = Self::committed(self.records_apart);
                }
                import.load = Self::committed(self.loads_apart);
                import.published_at = moment;
                import.step = Step::Published;
                state.clock = moment;
                state.publisher = None;
            }
            Action::Crash(n) => {
                state.imports[n].step = Step::Crashed;
                if state.publisher == Some(n) {
                    state.publisher = None;
                }
            }
            Action::RecordsAppear(n) => state.imports[n].records = Visible::Yes,
            Action::LoadAppears(n) => state.imports[n].load = Visible::Yes,
            Action::Sweep(n) => state.imports[n].records = Visible::Nothing,
            Action::FixToClock => state.reports[0] = last.fixed(last.clock),
            Action::ReadTime => {
                state.reports[1] = match last.reports[1] {
                    Report::AtPublisher(Some(publisher)) => Report::Waits(last.now, publisher),
                    Report::AtPublisher(None) => last.fixed(last.now),
                    _ => Report::AtTime(last.now),
                };
            }
            Action::ReadPublisher => {
                state.reports[1] = match (last.reports[1], last.publisher) {
                    (Report::AtTime(moment), Some(publisher)) => Report::Waits(moment, publisher),
                    (Report::AtTime(moment), None) => last.fixed(moment),
                    (_, publisher) => Report::AtPublisher(publisher),
                };
            }
            Action::Fix => {
                let Report::Waits(moment, _) = last.reports[1] else { return None };
                state.reports[1] = last.fixed(moment);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_APPEARS, |_, state: &State| {
                state.reports.iter().all(|report| match *report {
                    Report::Fixed(moment, loads) => loads == state.is_published_until(moment),
                    _ => true,
                })
            }),
            Property::always(ALL_RECORDS, |_, state: &State| {
                state.imports.iter().all(|import| import.load != Visible::Yes || import.records == Visible::Yes)
            }),
            // Otherwise the other two would say nothing.
            Property::sometimes("both imports publish, and both reports are fixed between them", |_, state: &State| {
                let is_fixed = |report: &Report| matches!(report, Report::Fixed(_, [true, false] | [false, true]));
                state.imports.iter().all(|import| import.step == Step::Published) && state.reports.iter().all(is_fixed)
            }),
        ]
    }
}

const NOTHING_APPEARS: &str = "nothing appears at or before a moment that a report was fixed to";
const ALL_RECORDS: &str = "a load that is published has all of its records";

/// The promises that a design breaks.
fn broken(design: Design) -> Vec<&'static str> {
    let checker = design.checker().spawn_bfs().join();
    assert!(checker.is_done());
    let mut broken: Vec<&'static str> = checker.discoveries().into_keys().collect();
    broken.retain(|&name| name == NOTHING_APPEARS || name == ALL_RECORDS);
    broken.sort_unstable();
    broken
}

#[test]
fn what_is_published_appears_once_with_its_records() {
    for design in [Design::plain(), Design::distributed()] {
        let checker = design.clone().checker().spawn_bfs().join();
        checker.assert_properties();
    }
    // On one machine, a commit is one.
    assert_eq!(broken(Design { blocks_first: false, ..Design::plain() }), [""; 0]);
}

#[test]
fn the_ways_that_this_service_does_not_go_break_a_promise() {
    for (design, expected) in [
        (Design { loads_apart: true, ..Design::distributed() }, NOTHING_APPEARS),
        (Design { blocks_first: false, counted: false, ..Design::distributed() }, ALL_RECORDS),
        (Design { counted: false, ..Design::distributed() }, ALL_RECORDS),
        (Design { time_before_publisher: false, ..Design::plain() }, NOTHING_APPEARS),
        (Design { sweeps_the_dead_only: false, ..Design::distributed() }, ALL_RECORDS),
    ] {
        assert_eq!(broken(design.clone()), [expected], "{design:?}");
    }
}
