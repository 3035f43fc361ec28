//! The thread that runs passes.

use super::answer::Answer;
use super::embedding::Embedding;
use super::inbox::{Job, Shared, lock};
use super::pace::Pace;
use super::prefix::{Prefixes, common};
use bise_kernels::threads;
use bise_model::chat::Template;
use bise_model::tokenizer::Tokenizer;
use bise_model::{Engine, ForwardError, LogitRows, Part, Sequence};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Tokens of each answer that there must be room for when another one begins: it would have to give
/// way at once otherwise.
const HEADROOM: usize = 64;

/// Answers at a time at most for which tokens are guessed.
const FEW: usize = 4;

/// How long to wait for slow readers.
const PAUSE: Duration = Duration::from_millis(5);

/// A prefix that is about to be known by this many tokens more is waited for.
const WORTH_WAITING: usize = 64;

/// Runs passes until the server ends and nothing is left to do.
pub fn run(shared: &Shared, engine: Engine, tokenizer: &Tokenizer, template: &Template) {
    let mut worker = Worker {
        shared,
        engine,
        tokenizer,
        template,
        waiting: BTreeMap::new(),
        running: BTreeMap::new(),
        embeddings: VecDeque::new(),
        prefixes: Prefixes::default(),
        pace: Pace::default(),
        next: 0,
    };
    while worker.take_jobs() {
        worker.leave_out_abandoned();
        worker.admit();
        worker.read_for_embeddings();
        worker.step();
        worker.tell();
    }
}

struct Worker<'t> {
    shared: &'t Shared,
    engine: Engine,
    tokenizer: &'t Tokenizer,
    template: &'t Template,
    /// Answers by when they came.
    waiting: BTreeMap<u64, Answer<'t>>,
    running: BTreeMap<u64, Answer<'t>>,
    embeddings: VecDeque<Embedding>,
    prefixes: Prefixes,
    pace: Pace,
    /// The number of the next answer.
    next: u64,
}

impl<'t> Worker<'t> {
    /// Takes what came, and waits while there is nothing to do; false when that is the end.
    fn take_jobs(&mut self) -> bool {
        let shared = self.shared;
        let mut inbox = lock(&shared.inbox);
        let idle = |worker: &Self| {
            worker.waiting.is_empty() && worker.running.is_empty() && worker.embeddings.is_empty()
        };
        while inbox.is_empty() && idle(self) && !shared.ending.load(Ordering::SeqCst) {
            inbox = shared
                .wake
                .wait(inbox)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let jobs = std::mem::take(&mut *inbox);
        drop(inbox);
        for job in jobs {
            self.take(job);
        }
        let ending = shared.ending.load(Ordering::SeqCst);
        let done = shared.stopping.load(Ordering::SeqCst) || ending && idle(self);
        !done
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Answer {
                request,
                events,
                came,
                tally,
            } => {
                let (tokenizer, template) = (self.tokenizer, self.template);
                for answer in Answer::all(*request, events, came, tally, tokenizer, template) {
                    self.waiting.insert(self.next, answer);
                    self.next += 1;
                }
            }
            Job::Embed { request, result } => {
                let embedding = Embedding::new(request, result, &self.engine);
                self.embeddings.push_back(embedding);
            }
        }
    }

    /// Lets go of what nobody waits for.
    fn leave_out_abandoned(&mut self) {
        self.waiting.retain(|_, answer| !answer.is_abandoned());
        self.running.retain(|_, answer| !answer.is_abandoned());
        self.embeddings.retain(|embedding| !embedding.is_abandoned());
    }

    /// Lets answers begin, in the order in which they came, while there is room.
    fn admit(&mut self) {
        let waiting: Vec<u64> = self.waiting.keys().copied().collect();
        for number in waiting {
            if self.running.len() >= self.shared.options.sequences.max(1) {
                break;
            }
            let Some(sequence) = self.beginning(number) else {
                continue;
            };
            let more = self.waiting[&number].tokens.len() - sequence.len();
            if !self.make_room_for(more) && !self.running.is_empty() {
                break;
            }
            let Some(mut answer) = self.waiting.remove(&number) else {
                continue;
            };
            let known = sequence.len() as u64;
            self.shared.cached_tokens.fetch_add(known, Ordering::SeqCst);
            answer.admit(sequence);
            self.running.insert(number, answer);
        }
    }

    /// A sequence with the longest beginning of an answer's tokens that is known, or an empty one;
    /// none while another answer is about to process what both begin with.
    fn beginning(&mut self, number: u64) -> Option<Sequence> {
        let tokens = &self.waiting[&number].tokens;
        // The last token is always processed: what follows it is wanted.
        let known = &tokens[..tokens.len() - 1];
        let running = self.running.values();
        let same: Vec<_> = running
            .map(|other| (common(&other.tokens, known), other))
            .collect();
        let coming = same.iter().map(|(len, _)| *len).max().unwrap_or(0);
        let done = same
            .into_iter()
            .map(|(len, other)| (len.min(other.done()), other));
        let mut done: Vec<_> = done.filter(|(len, _)| *len > 0).collect();
        done.sort_by_key(|(len, _)| Reverse(*len));
        if coming >= done.first().map_or(0, |(len, _)| *len) + WORTH_WAITING {
            return None;
        }
        let fork = |(len, other): &(usize, &Answer<'t>)| {
            let sequence = other.sequence.as_ref()?.fork_at(*len)?;
            Some((*len, sequence))
        };
        let (least, shared) = done.iter().find_map(fork).unzip();
        let kept = self.prefixes.find(known, least.unwrap_or(0));
        let capacity = self.shared.options.context;
        Some(kept.or(shared).unwrap_or_else(|| self.engine.sequence(capacity)))
    }

    /// Whether so many tokens more can be held, and the next [`HEADROOM`] of each answer, for which
    /// texts of earlier requests are forgotten.
    fn make_room_for(&mut self, tokens: usize) -> bool {
        let rows = self.engine.options().rows;
        let each = self.engine.kv_bytes_of(HEADROOM, HEADROOM);
        let more = each.saturating_mul(self.running.len() as u64);
        let needed = self.engine.kv_bytes_of(tokens, rows).saturating_add(more);
        while self.engine.kv_available() < needed {
            if !self.prefixes.forget_one() {
                return false;
            }
        }
        true
    }

    /// Lets go of the last one to come, to be computed again later; false when it is the only one.
    fn preempt(&mut self) -> bool {
        if self.running.len() < 2 {
            return false;
        }
        let Some((number, mut answer)) = self.running.pop_last() else {
            return false;
        };
        answer.give_way();
        self.waiting.insert(number, answer);
        self.shared.preemptions.fetch_add(1, Ordering::SeqCst);
        metrics::counter!("bise_preemptions_total").increment(1);
        true
    }

    /// Runs a pass, and hands out what it gave.
    fn step(&mut self) {
        let rows = self.plan();
        if rows.is_empty() {
            // All that there is waits for those who read it.
            if !self.running.is_empty() {
                std::thread::sleep(PAUSE);
            }
            return;
        }
        let numbers: Vec<u64> = rows.iter().map(|&(number, _)| number).collect();
        match self.pass(&rows) {
            Ok(()) => {}
            Err(ForwardError::KvMemory { needed, available }) => {
                if !self.prefixes.forget_one() && !self.preempt() {
                    let problem = format!(
                        "the text needs {needed} bytes more for its keys and values, and {available} are left of \
                         --kv-memory"
                    );
                    self.fail(&numbers, &problem);
                }
            }
            // Which of them it is, is found out by running each alone.
            Err(_) if rows.len() > 1 => {
                for row in rows {
                    if let Err(error) = self.pass(&[row]) {
                        self.fail(&[row.0], &bise_format::full_text(&error));
                    }
                }
            }
            Err(error) => self.fail(&numbers, &bise_format::full_text(&error)),
        }
        self.finish_ended();
    }

    fn fail(&mut self, numbers: &[u64], problem: &str) {
        for number in numbers {
            if let Some(answer) = self.running.get_mut(number) {
                tracing::error!(problem, "an answer could not be computed");
                answer.fail(problem.to_owned());
            }
        }
    }

    /// Guesses what follows answers, while there are so few that passes have rows to spare.
    fn draft(&mut self) {
        let writing = self.running.len();
        let all = self.running.values().all(Answer::is_decoding);
        let pace = &self.pace;
        for answer in self.running.values_mut() {
            answer.drafts.clear();
            if all && writing <= FEW {
                answer.draft(|k| pace.cost(writing, writing + k));
            }
        }
    }

    /// Which answers are in the next pass, and with how many rows.
    fn plan(&mut self) -> Vec<(u64, usize)> {
        let most = self.engine.options().rows.max(1);
        self.draft();
        let mut rows = Vec::new();
        let (mut used, mut watched) = (0, false);
        for (&number, answer) in &self.running {
            if answer.is_decoding() && !answer.is_read_slowly() && used < most {
                let n = (1 + answer.drafts.len()).min(most - used);
                rows.push((number, n));
                used += n;
                watched |= answer.is_watched();
            }
        }
        // Where nobody waits, larger passes do more in all.
        let mut left = match watched {
            true => self.pace.prompt_rows(used, most - used),
            false => most - used,
        };
        for (&number, answer) in &self.running {
            if !answer.is_decoding() && left > 0 {
                let n = answer.left().min(left);
                rows.push((number, n));
                left -= n;
            }
        }
        rows
    }

    /// Processes rows of answers, and lets those go on whose last token was among them.
    fn pass(&mut self, rows: &[(u64, usize)]) -> Result<(), ForwardError> {
        let start = Instant::now();
        let pool = self.engine.options().threads.clone();
        let vocabulary = self.engine.model().vocabulary_size();
        let mut chosen: Vec<(&mut Answer<'t>, usize)> = Vec::with_capacity(rows.len());
        for (number, answer) in &mut self.running {
            if let Some(&(_, n)) = rows.iter().find(|(chosen, _)| chosen == number) {
                chosen.push((answer, n));
            }
        }
        let mut goes_on = Vec::with_capacity(chosen.len());
        let mut batch = Vec::with_capacity(chosen.len());
        let mut texts = Vec::with_capacity(chosen.len());
        for (answer, n) in &chosen {
            goes_on.push(answer.done() + n >= answer.tokens.len());
            texts.push(answer.next(*n));
        }
        for (((answer, _), text), &goes_on) in chosen.iter_mut().zip(&texts).zip(&goes_on) {
            let logits = match (goes_on, answer.is_decoding()) {
                (false, _) => LogitRows::None,
                (true, true) => LogitRows::All,
                (true, false) => LogitRows::Last,
            };
            if let Some(sequence) = &mut answer.sequence {
                batch.push(Part::new(sequence, text, logits));
            }
        }
        let stopping = &self.shared.stopping;
        let logits = self.engine.forward_with(&mut batch, &mut |_| match stopping
            .load(Ordering::Relaxed)
        {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })?;
        drop(batch);
        let done: usize = rows.iter().map(|(_, n)| n).sum();
        self.pace.observe(done, start.elapsed().as_secs_f64());
        metrics::histogram!("bise_pass_seconds").record(start.elapsed().as_secs_f64());
        metrics::histogram!("bise_pass_rows").record(done as f64);
        let mut going: Vec<(&mut Answer<'t>, &[f32])> = Vec::with_capacity(chosen.len());
        for (part, ((answer, _), goes_on)) in chosen.into_iter().zip(goes_on).enumerate() {
            if goes_on {
                going.push((answer, logits.of(part)));
            }
        }
        let mut choose = move || {
            threads::for_each_piece(&mut going, 1, |_, one| {
                let (answer, logits) = &mut one[0];
                answer.advance(logits, vocabulary);
            });
        };
        match pool {
            Some(pool) => pool.run(choose),
            None => choose(),
        }
        Ok(())
    }

    /// Keeps the texts of answers that have ended.
    fn finish_ended(&mut self) {
        let ended = self.running.extract_if(.., |_, answer| answer.ended);
        for (tokens, sequence) in ended.filter_map(|(_, answer)| answer.into_kept()) {
            self.prefixes.keep(tokens, sequence);
        }
    }

    /// Reads a piece of the first text whose embedding is wanted.
    fn read_for_embeddings(&mut self) {
        let Some(mut embedding) = self.embeddings.pop_front() else {
            return;
        };
        let most = self.engine.options().rows.max(1);
        let decoding = self
            .running
            .values()
            .filter(|answer| answer.is_decoding())
            .count();
        let rows = self.pace.prompt_rows(decoding, most);
        self.make_room_for(embedding.left().min(rows));
        match embedding.read(&mut self.engine, rows) {
            Ok(()) if embedding.left() == 0 => embedding.finish(None),
            Ok(()) => self.embeddings.push_front(embedding),
            Err(ForwardError::KvMemory { .. }) if !self.running.is_empty() => {
                self.preempt();
                self.embeddings.push_front(embedding);
            }
            Err(error) => embedding.finish(Some(bise_format::full_text(&error))),
        }
    }

    /// Tells those who watch.
    fn tell(&self) {
        let shared = self.shared;
        let inbox = lock(&shared.inbox);
        let waiting = inbox.len() + self.waiting.len() + self.embeddings.len();
        shared.waiting.store(waiting, Ordering::SeqCst);
        drop(inbox);
        shared.running.store(self.running.len(), Ordering::SeqCst);
        shared.kv_bytes.store(self.engine.kv_bytes(), Ordering::SeqCst);
    }
}
