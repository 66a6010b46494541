-- Every statement, with the default names. Written by: python -m tests.golden.regenerate


-- alligator_sql.backends.sql.single

-- one task
insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func) values (:id,
    :queue, :priority, ((julianday('now') - 2440587.5) * 86400.0), ((julianday('now') - 2440587.5) *
    86400.0), 0, :func);

-- one task, delay expires_in tags
insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func, expires_at,
    tags) values (:id, :queue, :priority, ((julianday('now') - 2440587.5) * 86400.0) + :delay,
    ((julianday('now') - 2440587.5) * 86400.0), 3, :func, ((julianday('now') - 2440587.5) * 86400.0)
    + :expires_in, :tags);

-- one task, run_at expires_at
insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func, expires_at)
    values (:id, :queue, :priority, max(((julianday('now') - 2440587.5) * 86400.0), :run_at),
    ((julianday('now') - 2440587.5) * 86400.0), 3, :func, :expires_at);


-- alligator_sql.backends.sql.sqlite

-- enqueue
insert into alligator_tasks
    (id, queue, priority, run_at, created_at, expires_at, status, func, unique_key,
     tags)
select json_extract(m.value, '$.id'), json_extract(m.value, '$.queue'), json_extract(m.value,
    '$.priority'),
       max(((julianday('now') - 2440587.5) * 86400.0), coalesce(json_extract(m.value, '$.run_at'),
           ((julianday('now') - 2440587.5) * 86400.0) + json_extract(m.value, '$.delay'))),
       ((julianday('now') - 2440587.5) * 86400.0),
       coalesce(json_extract(m.value, '$.expires_at'), ((julianday('now') - 2440587.5) * 86400.0) +
           json_extract(m.value, '$.expires_in')),
       json_extract(m.value, '$.status'), json_extract(m.value, '$.func'), json_extract(m.value,
           '$.unique_key'),
       json_extract(m.value, '$.tags')
  from json_each(:messages) as m
 where not exists (select 1 from alligator_payloads p where p.id = json_extract(m.value, '$.id'))
 order by m.key
on conflict do nothing
returning id;

-- enqueue_payloads
insert into alligator_payloads (id, payload)
select json_extract(m.value, '$.id'), json_extract(m.value, '$.payload')
  from json_each(:messages) as m
 where json_extract(m.value, '$.id') in (select value from json_each(:new))
on conflict do nothing;

-- enqueue_one_payload
insert into alligator_payloads (id, payload) values (:id, :payload)
on conflict do nothing
returning id;

-- priorities
with recursive found(queue, priority) as (
    select q.value, (select max(priority) from alligator_tasks where queue = q.value)
      from json_each(:queues) as q
    union all
    select found.queue, (select max(priority) from alligator_tasks
                          where queue = found.queue and priority < found.priority)
      from found where found.priority is not null
)
select queue, priority from found where priority is not null;

-- claim
update alligator_tasks
   set status = 6, attempts = attempts + 1, lease = lease + 1,
       worker_id = :worker,
       started_at = case when :begins and not suspect then ((julianday('now') - 2440587.5) *
           86400.0) end
 where id in (select id from alligator_tasks
               where queue = :queue and priority = :priority and run_at <= ((julianday('now') -
                   2440587.5) * 86400.0)
                 and status in (0, 3, 4)
                 and exists (select 1 from alligator_workers
                              where id = :worker and expires_at > ((julianday('now') - 2440587.5) *
                                  86400.0))
                 and not exists (select 1 from alligator_queues
                                  where name = :queue and paused_at is not null)
               order by run_at, id
               limit :limit)
returning id, queue, func, lease, attempts, crashes,
       (select p.payload from alligator_payloads p where p.id = alligator_tasks.id),
       ((julianday('now') - 2440587.5) * 86400.0) - created_at, expires_at - ((julianday('now') -
           2440587.5) * 86400.0), suspect, run_at;

-- claim_one
update alligator_tasks
   set status = 6, attempts = attempts + 1, lease = lease + 1,
       worker_id = :worker, started_at = ((julianday('now') - 2440587.5) * 86400.0), suspect = 0
 where id = :id and status in (0, 3, 4)
returning id, queue, func, lease, attempts, crashes,
       (select p.payload from alligator_payloads p where p.id = alligator_tasks.id),
       ((julianday('now') - 2440587.5) * 86400.0) - created_at, expires_at - ((julianday('now') -
           2440587.5) * 86400.0), suspect, run_at;

-- begin
update alligator_tasks
   set started_at = ((julianday('now') - 2440587.5) * 86400.0), suspect = 0
 where id in (select t.id from json_each(:rows) as d join alligator_tasks t on t.id =
     json_extract(d.value, '$.id') and t.lease = json_extract(d.value, '$.lease')
 where t.worker_id = :worker and t.status = 6)
returning id;

-- end
insert into alligator_finished
    (id, queue, func, priority, attempts, crashes, created_at, run_at, started_at,
     worker_id, unique_key, tags, lease, status, reason, finished_at)
select t.id, t.queue, t.func, t.priority, t.attempts - json_extract(d.value, '$.refund'),
       t.crashes, t.created_at, t.run_at,
       coalesce(((julianday('now') - 2440587.5) * 86400.0) - json_extract(d.value, '$.age') -
           json_extract(d.value, '$.seconds'), t.started_at),
       t.worker_id, t.unique_key, t.tags,
       case when json_extract(d.value, '$.status') <> 1 then t.lease end,
       json_extract(d.value, '$.status'), json_extract(d.value, '$.reason'), ((julianday('now') -
           2440587.5) * 86400.0) - json_extract(d.value, '$.age')
  from json_each(:rows) as d join alligator_tasks t on t.id = json_extract(d.value, '$.id') and
      t.lease = json_extract(d.value, '$.lease')
 where t.worker_id = :worker and t.status = 6
on conflict do nothing;

-- may_complete
select 1 from json_each(:rows) as d join alligator_tasks t on t.id = json_extract(d.value, '$.id')
    and t.lease = json_extract(d.value, '$.lease')
where t.worker_id = :worker and t.status = 6
  and exists (select 1 from alligator_workers where id = :worker and expires_at > ((julianday('now')
      - 2440587.5) * 86400.0));

-- forget
delete from alligator_tasks
 where id in (select t.id from json_each(:rows) as d join alligator_tasks t on t.id =
     json_extract(d.value, '$.id') and t.lease = json_extract(d.value, '$.lease')
 where t.worker_id = :worker and t.status = 6)
returning id;

-- put_back
update alligator_tasks
   set status = d.status, attempts = attempts - d.refund,
       run_at = coalesce(((julianday('now') - 2440587.5) * 86400.0) + d.delay, run_at),
       suspect = coalesce(d.suspect, alligator_tasks.suspect),
       worker_id = null, started_at = null, progress = null, progress_message = null
  from (select t.id, json_extract(d.value, '$.status') as status, json_extract(d.value, '$.refund')
      as refund,
               json_extract(d.value, '$.delay') as delay, json_extract(d.value, '$.suspect') as
                   suspect
          from json_each(:rows) as d join alligator_tasks t on t.id = json_extract(d.value, '$.id')
              and t.lease = json_extract(d.value, '$.lease')
 where t.worker_id = :worker and t.status = 6 and t.canceled_at is null) as d
 where alligator_tasks.id = d.id
returning id;

-- canceled
select id from alligator_tasks
where id in (select value from json_each(:ids)) and worker_id = :worker and status = 6
  and canceled_at is not null;

-- report
update alligator_tasks
  set progress = d.percent, progress_message = d.message
 from (select json_extract(d.value, '$.id') as id, json_extract(d.value, '$.percent') as percent,
     json_extract(d.value, '$.message') as message
         from json_each(:rows) as d) as d
where alligator_tasks.id = d.id and worker_id = :worker and status = 6;


-- alligator_sql.backends.sql.statements

-- join_worker
INSERT INTO alligator_workers (id, expires_at, started_at, pid, host, queues) VALUES (:worker,
    ((julianday('now') - 2440587.5) * 86400.0) + :ttl, ((julianday('now') - 2440587.5) * 86400.0),
    :pid, :host, :queues);

-- heartbeat
UPDATE alligator_workers SET expires_at=((julianday('now') - 2440587.5) * 86400.0) + :ttl WHERE
    alligator_workers.id = :worker AND alligator_workers.expires_at > ((julianday('now') -
    2440587.5) * 86400.0);

-- expire_worker
UPDATE alligator_workers SET expires_at=((julianday('now') - 2440587.5) * 86400.0) WHERE
    alligator_workers.id = :worker;

-- remove_worker
DELETE FROM alligator_workers WHERE alligator_workers.id = :worker;

-- length
SELECT count(*) AS count_1
FROM alligator_tasks
WHERE alligator_tasks.queue = :queue AND alligator_tasks.status IN (… status_1 …);

-- waiting_ids
SELECT alligator_tasks.id
FROM alligator_tasks
WHERE alligator_tasks.queue = :queue AND alligator_tasks.status IN (… status_1 …) ORDER BY
    alligator_tasks.id;

-- delete_tasks
DELETE FROM alligator_tasks WHERE alligator_tasks.id IN (… ids …);

-- delete_payloads
DELETE FROM alligator_payloads WHERE alligator_payloads.id IN (… ids …);

-- delete_errors
DELETE FROM alligator_errors WHERE alligator_errors.task_id IN (… ids …);

-- next_due
WITH RECURSIVE found(queue, priority) AS
(SELECT q.value AS queue, (SELECT max(alligator_tasks.priority) AS max_1
FROM alligator_tasks
WHERE alligator_tasks.queue = q.value) AS priority
FROM json_each(:queues) as q UNION ALL SELECT found.queue AS queue, (SELECT
    max(alligator_tasks.priority) AS max_2
FROM alligator_tasks
WHERE alligator_tasks.queue = found.queue AND alligator_tasks.priority < found.priority) AS anon_1
FROM found
WHERE found.priority IS NOT NULL)
 SELECT min((SELECT min(alligator_tasks.run_at) AS min_2
FROM alligator_tasks
WHERE alligator_tasks.queue = found.queue AND alligator_tasks.priority = found.priority AND
    alligator_tasks.run_at > ((julianday('now') - 2440587.5) * 86400.0) AND alligator_tasks.run_at
    <= ((julianday('now') - 2440587.5) * 86400.0) + :horizon AND alligator_tasks.status IN (…
    status_1 …))) AS min_1, ((julianday('now') - 2440587.5) * 86400.0)
FROM found
WHERE (SELECT alligator_queues.paused_at
FROM alligator_queues
WHERE alligator_queues.name = found.queue) IS NULL;

-- is_paused
SELECT EXISTS (SELECT *
FROM alligator_queues
WHERE alligator_queues.name = :queue AND alligator_queues.paused_at IS NOT NULL) AS anon_1;

-- pause
INSERT INTO alligator_queues (name, paused_at) VALUES (:queue, ((julianday('now') - 2440587.5) *
    86400.0)) ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(alligator_queues.paused_at,
    excluded.paused_at);

-- resume
UPDATE alligator_queues SET paused_at=NULL WHERE alligator_queues.name = :queue AND
    alligator_queues.paused_at IS NOT NULL;

-- cancelable_task
SELECT alligator_tasks.id, alligator_tasks.run_at, alligator_tasks.created_at,
    alligator_tasks.expires_at, alligator_tasks.started_at, alligator_tasks.worker_id,
    alligator_tasks.attempts, alligator_tasks.status, alligator_tasks.crashes,
    alligator_tasks.lease, alligator_tasks.priority, alligator_tasks.queue, alligator_tasks.func,
    alligator_tasks.unique_key, alligator_tasks.tags, alligator_tasks.suspect,
    alligator_tasks.canceled_at, alligator_tasks.progress, alligator_tasks.progress_message,
    alligator_payloads.payload
FROM alligator_tasks JOIN alligator_payloads ON alligator_payloads.id = alligator_tasks.id
WHERE alligator_tasks.id = :id AND alligator_tasks.status IN (… status_1 …);

-- mark_canceled
UPDATE alligator_tasks SET canceled_at=coalesce(alligator_tasks.canceled_at, ((julianday('now') -
    2440587.5) * 86400.0)) WHERE alligator_tasks.id = :task_id;

-- add_finished
INSERT INTO alligator_finished (id, run_at, created_at, finished_at, started_at, attempts, priority,
    status, crashes, queue, func, worker_id, unique_key, tags, reason, lease) VALUES (:id, :run_at,
    :created_at, ((julianday('now') - 2440587.5) * 86400.0), :started_at, :attempts, :priority,
    :status, :crashes, :queue, :func, :worker_id, :unique_key, :tags, :reason, :lease) ON CONFLICT
    DO NOTHING;

-- revive
INSERT INTO alligator_tasks (id, created_at, priority, queue, func, unique_key, tags, lease, run_at,
    status) SELECT alligator_finished.id, alligator_finished.created_at,
    alligator_finished.priority, alligator_finished.queue, alligator_finished.func,
    alligator_finished.unique_key, alligator_finished.tags, coalesce(alligator_finished.lease,
    :coalesce_2) AS coalesce_1, ((julianday('now') - 2440587.5) * 86400.0), 0
FROM alligator_finished
WHERE alligator_finished.id = :id AND alligator_finished.status IN (… status_1 …) ON CONFLICT DO
    NOTHING RETURNING queue;

-- delete_finished
DELETE FROM alligator_finished WHERE alligator_finished.id = :id;

-- live_task
SELECT alligator_tasks.id, alligator_tasks.run_at, alligator_tasks.created_at,
    alligator_tasks.expires_at, alligator_tasks.started_at, alligator_tasks.worker_id,
    alligator_tasks.attempts, alligator_tasks.status, alligator_tasks.crashes,
    alligator_tasks.lease, alligator_tasks.priority, alligator_tasks.queue, alligator_tasks.func,
    alligator_tasks.unique_key, alligator_tasks.tags, alligator_tasks.suspect,
    alligator_tasks.canceled_at, alligator_tasks.progress, alligator_tasks.progress_message
FROM alligator_tasks
WHERE alligator_tasks.id = :id;

-- ended_task
SELECT alligator_finished.id, alligator_finished.run_at, alligator_finished.created_at,
    alligator_finished.finished_at, alligator_finished.started_at, alligator_finished.attempts,
    alligator_finished.priority, alligator_finished.status, alligator_finished.crashes,
    alligator_finished.queue, alligator_finished.func, alligator_finished.worker_id,
    alligator_finished.unique_key, alligator_finished.tags, alligator_finished.reason,
    alligator_finished.lease
FROM alligator_finished
WHERE alligator_finished.id = :id;

-- last_error
SELECT alligator_errors.task_id, alligator_errors.lease, alligator_errors.at,
    alligator_errors.attempt, alligator_errors.kind, alligator_errors.message,
    alligator_errors.traceback
FROM alligator_errors
WHERE alligator_errors.task_id = :id ORDER BY alligator_errors.lease DESC
 LIMIT :param_1 OFFSET :param_2;

-- result
SELECT alligator_results.id, alligator_results.result, alligator_results.problem
FROM alligator_results
WHERE alligator_results.id = :id;

-- add_error
INSERT INTO alligator_errors (task_id, lease, at, attempt, kind, message, traceback) VALUES
    (:task_id, :lease, ((julianday('now') - 2440587.5) * 86400.0), :attempt, :kind, :message,
    :traceback) ON CONFLICT DO NOTHING;

-- add_result
insert into alligator_results (id, result, problem) values (:id, :result, :problem) on conflict do
    nothing;

-- rewrite_payload
UPDATE alligator_payloads SET payload=:new_payload WHERE alligator_payloads.id = :task_id;

-- dead_workers
SELECT alligator_workers.id, alligator_workers.host, alligator_workers.pid
FROM alligator_workers
WHERE alligator_workers.expires_at <= ((julianday('now') - 2440587.5) * 86400.0) ORDER BY
    alligator_workers.id;

-- orphans
SELECT alligator_tasks.id, alligator_tasks.lease, alligator_tasks.attempts, alligator_tasks.crashes,
    alligator_tasks.worker_id, alligator_tasks.started_at, alligator_tasks.canceled_at
FROM alligator_tasks
WHERE alligator_tasks.status = :status_1 AND alligator_tasks.worker_id IN (… workers …) ORDER BY
    alligator_tasks.id;

-- strays
SELECT alligator_tasks.id, alligator_tasks.lease, alligator_tasks.attempts, alligator_tasks.crashes,
    alligator_tasks.worker_id, alligator_tasks.started_at, alligator_tasks.canceled_at
FROM alligator_tasks
WHERE alligator_tasks.status = :status_1 AND NOT (EXISTS (SELECT alligator_workers.id
FROM alligator_workers
WHERE alligator_workers.id = alligator_tasks.worker_id)) ORDER BY alligator_tasks.id;

-- count_crash
UPDATE alligator_tasks SET crashes=(alligator_tasks.crashes + :crashes_1) WHERE alligator_tasks.id
    IN (… ids …);

-- remove_workers
DELETE FROM alligator_workers WHERE alligator_workers.id IN (… ids …) AND NOT (EXISTS (SELECT
    alligator_tasks.id
FROM alligator_tasks
WHERE alligator_tasks.worker_id = alligator_workers.id AND alligator_tasks.status = :status_1));

-- old_successes
SELECT alligator_finished.id
FROM alligator_finished
WHERE alligator_finished.status = :status_1 AND alligator_finished.finished_at < ((julianday('now')
    - 2440587.5) * 86400.0) + :minus_keep ORDER BY alligator_finished.finished_at
 LIMIT :batch OFFSET :param_1;

-- old_failures
SELECT alligator_finished.id
FROM alligator_finished
WHERE alligator_finished.status != :status_1 AND alligator_finished.finished_at < ((julianday('now')
    - 2440587.5) * 86400.0) + :minus_keep ORDER BY alligator_finished.finished_at
 LIMIT :batch OFFSET :param_1;

-- forget 1
DELETE FROM alligator_results WHERE alligator_results.id IN (… ids …);

-- forget 2
DELETE FROM alligator_errors WHERE alligator_errors.task_id IN (… ids …);

-- forget 3
DELETE FROM alligator_payloads WHERE alligator_payloads.id IN (… ids …);

-- forget 4
DELETE FROM alligator_finished WHERE alligator_finished.id IN (… ids …);
