use super::*;
use crate::job::{
    Change, Failure, FailureKind, Outcome, Polled, Progress, Submitted, WaitReason, decide,
};

fn accepted() -> Outcome {
    Outcome::Submitted(Submitted {
        remote_id: Some("abc".into()),
        status_url: "https://h/s".into(),
        notes: Vec::new(),
    })
}

fn aborted() -> Outcome {
    let progress = Progress::Aborted { message: "no".into(), error_log_url: None };
    Outcome::Polled(Polled::ours(progress))
}

async fn apply(
    store: &Store,
    job: &Job,
    outcome: Outcome,
    owner: &str,
    now: DateTime<Utc>,
) -> bool {
    conclude(store, job, outcome, owner, now).await.is_some()
}

async fn conclude(
    store: &Store,
    job: &Job,
    outcome: Outcome,
    owner: &str,
    now: DateTime<Utc>,
) -> Option<Change> {
    let decision = move |job: &Job| decide(job, &outcome, &policy(), now, 0.5);
    store.conclude(job.clone(), owner, decision, now).await.unwrap()
}

async fn hold_of(store: &Store, id: i64) -> (Option<WaitReason>, DateTime<Utc>) {
    let job = store.job(id).await.unwrap().unwrap();
    (job.waiting.map(|wait| wait.why), job.due_at)
}

#[tokio::test]
async fn only_a_step_that_downloads_waits_for_a_free_download() {
    use crate::job::{Goal, JobStep, Restore, STEPS, Seen, Stage};
    for (stage, state, step) in STEPS {
        let (_folder, store) = store().await;
        if *stage == Stage::Backup {
            made(&store, "stores").await;
        } else {
            let seen = Some(Seen { looked_at: Some(noon()), ..Seen::default() });
            let restore = Restore::new(Goal::Load, "stores".into());
            let restore = Restore { stage: *stage, seen, ..restore };
            store.create_restore(new_job("stores"), restore, noon()).await.unwrap();
        }
        let word = state.as_str();
        let set = sqlx::query("UPDATE jobs SET state = ?").bind(word);
        store.write(move |db| Box::pin(set.execute(db))).await.unwrap();
        let due = async |requests, fetches| {
            store.next_due(requests, fetches, None, &[]).await.unwrap().is_some()
        };
        let found = (due(true, false).await, due(false, true).await);
        let is_download = matches!(step, JobStep::Fetch | JobStep::Compare);
        assert_eq!(found, (!is_download, is_download), "{stage} {state}");
        let asked = Claim {
            fetches: u32::from(!is_download),
            requests: u32::from(is_download),
            ..claim("a")
        };
        assert_eq!(
            store.claim(asked, noon()).await.unwrap(),
            Claimed::default(),
            "{stage} {state}"
        );
        let asked = Claim {
            fetches: u32::from(is_download),
            requests: u32::from(!is_download),
            ..claim("a")
        };
        assert_ne!(
            store.claim(asked, noon()).await.unwrap(),
            Claimed::default(),
            "{stage} {state}"
        );
    }
}

#[tokio::test]
async fn a_claim_writes_the_intent_to_submit_and_takes_the_job_from_others() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    assert!(job.is_submitting());
    assert_eq!((job.attempts, job.submitted_at()), (1, noon()));
    assert!(job.remote.as_ref().unwrap().record.is_some());
    assert_eq!(store.job(job.id).await.unwrap().unwrap(), job);
    assert_eq!(store.claim(claim("b"), noon()).await.unwrap(), Claimed::default());
    assert_eq!(store.held("a").await.unwrap(), [job.id]);
    assert_eq!(store.lease_owners().await.unwrap(), ["a"]);
    assert!(store.any_live().await.unwrap());
    store.cancel(job.id, at(1)).await.unwrap();
    assert!(!store.any_live().await.unwrap());
}

#[tokio::test]
async fn a_submission_that_a_dead_worker_left_is_charged_and_made_again() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    assert_eq!(store.release_all("a", &[]).await.unwrap(), 1);
    // First it is known to be unanswered, then it is submitted again.
    assert_eq!(store.claim(claim("b"), at(1)).await.unwrap().jobs, []);
    let again = store.claim(claim("b"), at(6)).await.unwrap().jobs.remove(0);
    assert_eq!((again.id, again.attempts, again.is_submitting()), (job.id, 2, true));
    assert_ne!(again.remote, job.remote);
    let timeline = store.timeline(job.id).await.unwrap();
    assert!(timeline.iter().any(|event| event.message.contains("its answer was never stored")));
}

#[tokio::test]
async fn a_job_stays_with_its_worker_at_any_time_until_it_is_released() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    apply(&store, &job, accepted(), "a", noon()).await;
    let polls = |owner: &'static str, now: i64| store.claim(claim(owner), at(now));
    assert_eq!(polls("a", 10).await.unwrap().jobs.len(), 1);
    assert!(store.holds("a", job.id).await.unwrap());
    let year = 365 * 24 * 3600;
    for owner in ["a", "b"] {
        assert_eq!(polls(owner, year).await.unwrap().jobs, [], "{owner} takes what a holds");
    }
    assert_eq!(store.release_all("a", &[job.id]).await.unwrap(), 0);
    assert_eq!(store.release_all("a", &[]).await.unwrap(), 1);
    assert_eq!(polls("b", year).await.unwrap().jobs.len(), 1);
    // What the first one then decides is not applied.
    let late = store.job(job.id).await.unwrap().unwrap();
    assert!(!apply(&store, &late, aborted(), "a", at(101)).await);
    assert!(!store.holds("a", job.id).await.unwrap());
}

#[tokio::test]
async fn the_answer_to_a_cancelled_submission_is_kept() {
    let (_folder, store) = store().await;
    let late = async |outcome: Outcome| {
        let job = submitting(&store, "stores", "a").await;
        store.cancel(job.id, at(1)).await.unwrap();
        assert!(!apply(&store, &job, outcome, "a", at(2)).await);
        job
    };
    // Refused: no place is taken.
    late(Outcome::Failed(Failure::new(FailureKind::Unavailable, "later"))).await;
    assert_eq!(store.quota_used("contoso", at(3)).await.unwrap(), (0, 0));
    // Accepted: it can be asked about.
    let job = late(accepted()).await;
    assert_eq!(store.quota_used("contoso", at(3)).await.unwrap(), (1, 1));
    let tight = claim_with("b", Quota { max_in_process: 1, max_jobs_per_day: 50 });
    made(&store, "stores").await;
    assert_eq!(store.claim(tight, at(3)).await.unwrap().jobs, []);
    let orphans = store.orphans(noon() - TimeDelta::hours(1)).await.unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].status_url, "https://h/s");
    assert_eq!(orphans[0].remote_id.as_deref(), Some("abc"));
    let last = store.timeline(job.id).await.unwrap().pop().unwrap().message;
    assert!(last.contains("had accepted the submission as remote job abc"), "{last}");
}

#[tokio::test]
async fn a_quota_that_may_have_changed_is_reconsidered() {
    let (_folder, store) = store().await;
    let daily = |most| claim_with("a", Quota { max_in_process: 10, max_jobs_per_day: most });
    let (_one, two) = (made(&store, "one").await, made(&store, "two").await);
    assert_eq!(store.claim(daily(1), noon()).await.unwrap().jobs.len(), 1);
    assert_eq!(hold_of(&store, two.id).await, (Some(WaitReason::Quota), at(24 * 3600)));
    store.reconsider_quota(at(5)).await.unwrap();
    assert_eq!(store.claim(daily(2), at(5)).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_delays_nothing() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    apply(&store, &job, accepted(), "a", noon()).await;
    let waiting = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((waiting.due_at, waiting.wait), (at(5), TimeDelta::seconds(5)));
    let none = TimeDelta::zero();
    assert!(!store.correct_clock(none, noon()).await.unwrap(), "the clock is right");
    let back = at(-2 * 3600);
    assert!(store.correct_clock(none, back).await.unwrap());
    let right = store.job(job.id).await.unwrap().unwrap();
    assert_eq!(right.due_at, back + TimeDelta::seconds(5));
    assert_eq!((right.first_submitted_at, right.submitted_at()), (Some(back), back));
    // The remote job's day and its place count from the right time too.
    assert_eq!(store.quota_used("contoso", back).await.unwrap(), (1, 1));
    assert!(!store.correct_clock(none, back).await.unwrap());
    // Forward: the deadline is no nearer than it was.
    let hour = TimeDelta::hours(1);
    assert!(store.correct_clock(hour, back + hour).await.unwrap());
    let right = store.job(job.id).await.unwrap().unwrap();
    assert_eq!(right.first_submitted_at, Some(back + hour));
}

#[tokio::test]
async fn one_job_can_be_freed_by_its_holder_alone() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    store.release(job.id, "b").await.unwrap();
    assert_eq!(store.held("a").await.unwrap(), [job.id]);
    store.release(job.id, "a").await.unwrap();
    assert_eq!(store.held("a").await.unwrap(), Vec::<i64>::new());
}

#[tokio::test]
async fn the_quota_in_process_holds_until_a_remote_job_ends() {
    let (_folder, store) = store().await;
    let tight = || claim_with("a", Quota { max_in_process: 1, max_jobs_per_day: 50 });
    let (one, two) = (made(&store, "one").await, made(&store, "two").await);
    let first = store.claim(tight(), noon()).await.unwrap().jobs;
    assert_eq!(first.iter().map(|job| job.id).collect::<Vec<_>>(), [one.id]);
    assert_eq!(hold_of(&store, two.id).await, (Some(WaitReason::Quota), at(12 * 3600)));
    assert_eq!(store.job(two.id).await.unwrap().unwrap().attempts, 0);

    apply(&store, &first[0], accepted(), "a", at(1)).await;
    let waiting = store.claim(tight(), at(6)).await.unwrap().jobs.remove(0);
    let done = Outcome::Polled(Polled {
        other: None,
        progress: Progress::Completed { result_url: Some("https://h/r".into()), expected: None },
        notes: Vec::new(),
    });
    apply(&store, &waiting, done, "a", at(6)).await;
    // The end of the one wakes the other.
    assert_eq!(hold_of(&store, two.id).await.1, at(6));
    let mut only_requests = tight();
    only_requests.fetches = 0;
    let second = store.claim(only_requests, at(7)).await.unwrap().jobs;
    assert_eq!(second.iter().map(|job| job.id).collect::<Vec<_>>(), [two.id]);
}

#[tokio::test]
async fn the_daily_quota_counts_what_was_lost_and_not_what_was_refused() {
    let (_folder, store) = store().await;
    let daily = || claim_with("a", Quota { max_in_process: 10, max_jobs_per_day: 1 });
    made(&store, "one").await;
    let refused = store.claim(daily(), noon()).await.unwrap().jobs.remove(0);
    let no = Outcome::Failed(Failure::new(FailureKind::Unavailable, "later"));
    apply(&store, &refused, no, "a", noon()).await;
    let lost = store.claim(daily(), at(5)).await.unwrap().jobs.remove(0);
    let silence = Failure { maybe_started: true, ..Failure::new(FailureKind::Lost, "silence") };
    apply(&store, &lost, Outcome::Failed(silence), "a", at(6)).await;
    assert_eq!(store.claim(daily(), at(60)).await.unwrap().jobs, []);
    let (why, until) = hold_of(&store, lost.id).await;
    assert_eq!((why, until), (Some(WaitReason::Quota), at(5 + 24 * 3600)));
    assert_eq!(store.claim(daily(), until).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn requests_and_downloads_are_claimed_apart_and_oldest_first() {
    let (_folder, store) = store().await;
    for source in ["one", "two", "three"] {
        made(&store, source).await;
    }
    let mut some = claim("a");
    some.requests = 2;
    let claimed = store.claim(some, noon()).await.unwrap().jobs;
    assert_eq!(claimed.iter().map(|job| job.source.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    let next = |requests, fetches| store.next_due(requests, fetches, None, &[]);
    assert_eq!(next(true, true).await.unwrap(), Some(noon()));
    assert_eq!(next(false, true).await.unwrap(), None);
    let mut none = claim("a");
    none.requests = 0;
    assert_eq!(store.claim(none, noon()).await.unwrap().jobs, []);
}

#[tokio::test]
async fn a_worker_may_ask_for_its_own_jobs_alone() {
    let (_folder, store) = store().await;
    let (one, two) = (made(&store, "one").await, made(&store, "two").await);
    let mut own = claim("a");
    own.only = Some(vec![two.id]);
    assert_eq!(store.next_due(true, true, Some(&[two.id]), &[]).await.unwrap(), Some(noon()));
    let claimed = store.claim(own, noon()).await.unwrap().jobs;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [two.id]);
    assert_eq!(store.next_due(true, true, Some(&[two.id]), &[]).await.unwrap(), None);
    assert_eq!(store.next_due(true, true, Some(&[one.id]), &[]).await.unwrap(), Some(noon()));
}

#[tokio::test]
async fn jobs_of_unknown_sources_are_left_alone() {
    let (_folder, store) = store().await;
    let job = made(&store, "stores").await;
    let mut other = claim("a");
    other.limits = Arc::default();
    let claimed = store.claim(other, noon()).await.unwrap();
    assert_eq!((claimed.jobs.len(), claimed.unconfigured.len()), (0, 1));
    assert_eq!(store.held("a").await.unwrap(), Vec::<i64>::new());
    let unconfigured = vec!["stores".to_owned()];
    assert_eq!(store.next_due(true, true, None, &unconfigured).await.unwrap(), None);
    let blind = Claim { unconfigured, ..claim("a") };
    assert_eq!(store.claim(blind, noon()).await.unwrap(), Claimed::default());
    store.move_to_account("stores", "fabrikam", noon()).await.unwrap();
    assert_eq!(store.job(job.id).await.unwrap().unwrap().account, "fabrikam");
}

#[tokio::test]
async fn a_decision_is_applied_only_to_the_job_that_it_was_made_for() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    assert!(apply(&store, &job, accepted(), "a", at(1)).await);
    let now = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((now.state, now.status_url()), (State::Waiting, Some("https://h/s")));
    assert_eq!(now.due_at, at(6));
    // The same decision once more finds another state.
    assert!(!apply(&store, &job, accepted(), "a", at(2)).await);
    let kinds: Vec<_> =
        store.timeline(job.id).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["queued", "submitted"]);
}

#[tokio::test]
async fn a_decision_is_not_applied_to_a_later_submission_of_the_same_worker() {
    let (_folder, store) = store().await;
    let record = |job: &Job| job.remote.as_ref().and_then(|remote| remote.record);
    let refused = || Outcome::Failed(Failure::new(FailureKind::Unavailable, "later"));
    let first = submitting(&store, "stores", "a").await;
    // Its commit seems to fail, so it is tried again. Meanwhile the job is claimed again.
    assert!(apply(&store, &first, refused(), "a", at(1)).await);
    let second = store.claim(claim("a"), at(60)).await.unwrap().jobs.remove(0);
    assert_eq!((second.state, record(&second)), (first.state, record(&first)));
    assert!(!apply(&store, &first, refused(), "a", at(61)).await);
    assert_eq!(store.job(first.id).await.unwrap().unwrap(), second);
    assert_eq!(store.quota_used("contoso", at(62)).await.unwrap(), (1, 1));
    assert!(store.holds("a", second.id).await.unwrap());
    assert!(apply(&store, &second, accepted(), "a", at(63)).await);
}

#[tokio::test]
async fn a_refusal_that_is_stored_twice_deletes_no_record_of_another_job() {
    let (_folder, store) = store().await;
    let refused = || Outcome::Failed(Failure::new(FailureKind::Rejected, "no such source"));
    let first = submitting(&store, "one", "a").await;
    assert!(apply(&store, &first, refused(), "a", at(1)).await);
    let other = submitting(&store, "two", "a").await;
    let record = |job: &Job| job.remote.as_ref().and_then(|remote| remote.record);
    assert_eq!(record(&first), record(&other), "the number is given again");
    assert!(!apply(&store, &first, refused(), "a", at(2)).await);
    assert_eq!(store.quota_used("contoso", at(3)).await.unwrap(), (1, 1));
}
