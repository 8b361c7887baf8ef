//! Builds a chain of stages, and takes batches through it.

use std::time::Instant;

use super::bisect::Budget;
use super::flow::{Flow, Member};
use super::guest::{Guest, Rule};
use super::observe::{Groups, Observer, Times};
use super::processed::{Place, Processed};
use super::rejects::Rejects;
use super::segment::{RuleStage, Segment, nanos};
use super::transform::TransformStage;
use super::{ChainError, DECODE, ENCODE, Limits, Record, Stage, Stop};
use crate::event::{Layout, LayoutBuilder, check_plan};

/// One generation of the rules, as one worker has it: all stages, and who observes the outputs.
pub struct Chain {
    names: Vec<String>,
    steps: Vec<Step>,
    /// Reads event times, where the chain does not begin with a rule.
    head: Option<(Layout, Times)>,
    /// Reads group keys, where the chain does not end with a rule.
    tail: Option<(Layout, Groups)>,
    limits: Limits,
    reads_headers: bool,
}

/// What a batch goes through in one piece.
enum Step {
    Rules(Box<Segment>),
    Transform(Box<TransformStage>),
}

/// A step whose layout is yet to be made.
enum Plan {
    Rules(Vec<(Member, Box<dyn Rule>)>),
    Transform(Box<TransformStage>),
}

impl Chain {
    /// A chain of these stages, in this order; with none, every record passes. Gives all problems
    /// at once.
    pub fn new(
        stages: Vec<Stage>,
        observers: Vec<Observer>,
        limits: Limits,
    ) -> Result<Self, Vec<ChainError>> {
        let names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
        let mut errors = name_errors(&names);
        let reads_headers = stages.iter().any(|stage| stage.guest.reads_headers());
        let plans = plans(stages);
        let (mut steps, count) = (Vec::with_capacity(plans.len()), plans.len());
        let (mut apart_head, mut apart_tail) = (true, true);
        for (place, plan) in plans.into_iter().enumerate() {
            let rules = match plan {
                Plan::Rules(rules) => rules,
                Plan::Transform(stage) => {
                    steps.push(Step::Transform(stage));
                    continue;
                }
            };
            let mut layout = Layout::builder();
            let rules = rules
                .into_iter()
                .filter_map(|(member, rule)| rule_stage(member, rule, &mut layout, &mut errors))
                .collect();
            let head = (place == 0).then(|| {
                apart_head = false;
                (Rejects::default(), Times::new(&observers, &mut layout, &mut errors))
            });
            let groups = (place + 1 == count).then(|| {
                apart_tail = false;
                Groups::new(&observers, &mut layout, &mut errors)
            });
            let layout = layout.build();
            steps.push(Step::Rules(Box::new(Segment { layout, rules, head, groups })));
        }
        let head = apart_head.then(|| {
            let mut layout = Layout::builder();
            let times = Times::new(&observers, &mut layout, &mut errors);
            (layout.build(), times)
        });
        let tail = apart_tail.then(|| {
            let mut layout = Layout::builder();
            let groups = Groups::new(&observers, &mut layout, &mut errors);
            (layout.build(), groups)
        });
        if errors.is_empty() {
            Ok(Self { names, steps, head, tail, limits, reads_headers })
        } else {
            Err(errors)
        }
    }

    /// Whether a stage looks at headers. Where none does, records may be given without theirs,
    /// which saves finding them.
    pub fn reads_headers(&self) -> bool {
        self.reads_headers
    }

    /// Takes records through all stages. `now` is the time of processing in milliseconds since the
    /// epoch, as the stages see it; give the same one when the same records run again. The records
    /// may be of any partitions: what comes out keeps their order.
    ///
    /// After a stop the chain can go on with other records, or with fewer where the stop says so:
    /// then what this run spent and rejected does not count, since the same records come again.
    pub fn run(&mut self, records: &[Record<'_>], now: i64) -> Result<Processed, Stop> {
        self.each_member(Member::run_started);
        self.each_decoding(Rejects::run_started);
        let ran = self.run_once(records, now);
        if let Err(Stop::OutputTooLarge { .. }) = ran {
            self.each_member(Member::run_failed);
            self.each_decoding(Rejects::run_failed);
        }
        ran
    }

    fn run_once(&mut self, records: &[Record<'_>], now: i64) -> Result<Processed, Stop> {
        let mut flow = Flow::new(records, now, &self.limits, self.names.len());
        if let Some((layout, times)) = &self.head {
            let started = Instant::now();
            times.read_apart(layout, &mut flow);
            flow.processed.decode.nanos += nanos(started);
        }
        for step in &mut self.steps {
            match step {
                Step::Rules(segment) => segment.run(&mut flow)?,
                Step::Transform(stage) => stage.run(&mut flow)?,
            }
        }
        if let Some((layout, groups)) = &self.tail {
            let started = Instant::now();
            groups.read_apart(layout, &mut flow);
            flow.processed.decode.nanos += nanos(started);
        }
        Ok(flow.finish())
    }

    /// Tells the chain that a transaction begins: what faults may cost is counted anew.
    pub fn transaction_started(&mut self) {
        self.each_member(|member| {
            member.budget = Budget::default();
            member.rejects.transaction_started();
        });
        self.each_decoding(Rejects::transaction_started);
    }

    /// Whether the transaction should end here if it can: a stage has spent a quarter of what its
    /// faults may cost in it. So the limit is that of a batch or two, and not of however many of
    /// them, each with its guilty record, come in until the commit is due.
    pub fn is_strained(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Rules(segment) => {
                segment.rules.iter().any(|rule| rule.member.budget.is_strained(&self.limits))
            }
            Step::Transform(stage) => stage.member.budget.is_strained(&self.limits),
        })
    }

    /// Tells the chain that the transaction is given up: its records come again, and must not
    /// count twice in the share of dead letters.
    pub fn transaction_failed(&mut self) {
        self.each_member(|member| member.rejects.transaction_failed());
        self.each_decoding(Rejects::transaction_failed);
    }

    fn each_member(&mut self, mut tell: impl FnMut(&mut Member)) {
        for step in &mut self.steps {
            match step {
                Step::Rules(segment) => {
                    segment.rules.iter_mut().for_each(|rule| tell(&mut rule.member));
                }
                Step::Transform(stage) => tell(&mut stage.member),
            }
        }
    }

    fn each_decoding(&mut self, tell: impl Fn(&mut Rejects)) {
        for step in &mut self.steps {
            if let Step::Rules(segment) = step
                && let Some((rejects, _)) = &mut segment.head
            {
                tell(rejects);
            }
        }
    }

    /// The names of the stages, in their order.
    pub fn stage_names(&self) -> &[String] {
        &self.names
    }

    /// The name of a place, as it stands in headers, logs and metrics.
    pub fn place_name(&self, place: Place) -> &str {
        match place {
            Place::Decode => DECODE,
            Place::Stage(stage) => &self.names[stage],
            Place::Encode => ENCODE,
        }
    }
}

/// The stages, neighbouring rules together.
fn plans(stages: Vec<Stage>) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (place, stage) in stages.into_iter().enumerate() {
        let member = Member::new(stage.name, place, stage.on_error);
        match (stage.guest, plans.last_mut()) {
            (Guest::Rule(rule), Some(Plan::Rules(rules))) => rules.push((member, rule)),
            (Guest::Rule(rule), _) => plans.push(Plan::Rules(vec![(member, rule)])),
            (Guest::Transform(transform), _) => {
                let stage = TransformStage { member, transform, topics: stage.topics };
                plans.push(Plan::Transform(Box::new(stage)));
            }
        }
    }
    plans
}

fn name_errors(names: &[String]) -> Vec<ChainError> {
    let mut errors = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let stage = name.clone();
        if name == DECODE || name == ENCODE {
            errors.push(ChainError::Taken { place, stage });
        } else if names[..place].contains(name) {
            errors.push(ChainError::Twice { stage });
        }
    }
    errors
}

/// Adds a rule's plan to the layout of its segment.
fn rule_stage(
    member: Member,
    rule: Box<dyn Rule>,
    layout: &mut LayoutBuilder,
    errors: &mut Vec<ChainError>,
) -> Option<RuleStage> {
    let plan = rule.plan();
    let before = errors.len();
    let mut problem = |problem: String| {
        errors.push(ChainError::Plan { place: member.place, stage: member.name.clone(), problem });
    };
    if let Err(problems) = check_plan(plan) {
        problems.into_iter().for_each(&mut problem);
        return None;
    }
    let (mut columns, mut forms, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for read in &plan.reads {
        match layout.column(&read.source) {
            Ok(column) => columns.push(column),
            Err(error) => problem(format!("read of {:?}: {error}", read.source)),
        }
        forms.push(read.form);
    }
    for pointer in &plan.writes {
        match layout.write(pointer) {
            Ok(write) => writes.push(write),
            Err(error) => problem(format!("write of {pointer:?}: {error}")),
        }
    }
    let known = errors.len() == before;
    known.then_some(RuleStage { member, rule, columns, forms, writes })
}
