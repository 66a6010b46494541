-- Every statement, with the default names. Written by: python -m tests.golden.regenerate


-- alligator_sql.backends.sql.single

-- one task
with kept as (
    insert into alligator_payloads (id, payload)
    values (cast(%(id)s as uuid), %(payload)s)
    on conflict do nothing
    returning id
)
insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func)
select id, cast(%(queue)s as text), cast(%(priority)s as smallint), now(), now(), 0, cast(%(func)s
    as text)
  from kept
on conflict do nothing
returning id;

-- one task, delay expires_in tags
with kept as (
    insert into alligator_payloads (id, payload)
    values (cast(%(id)s as uuid), %(payload)s)
    on conflict do nothing
    returning id
)
insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func, expires_at,
    tags)
select id, cast(%(queue)s as text), cast(%(priority)s as smallint), now() + make_interval(secs =>
    cast(%(delay)s as float8)), now(), 3, cast(%(func)s as text), now() + make_interval(secs =>
    cast(%(expires_in)s as float8)), cast(%(tags)s as text)
  from kept
on conflict do nothing
returning id, cast(pg_notify(%(channel)s, '') as text);

-- one task, run_at expires_at
with kept as (
    insert into alligator_payloads (id, payload)
    values (cast(%(id)s as uuid), %(payload)s)
    on conflict do nothing
    returning id
)
insert into alligator_tasks (id, queue, priority, run_at, created_at, status, func, expires_at)
select id, cast(%(queue)s as text), cast(%(priority)s as smallint), greatest(now(),
    to_timestamp(cast(%(run_at)s as float8))), now(), 3, cast(%(func)s as text),
    to_timestamp(cast(%(expires_at)s as float8))
  from kept
on conflict do nothing
returning id, cast(pg_notify(%(channel)s, '') as text);


-- alligator_sql.backends.sql.postgresql

-- enqueue
with new as (
    insert into alligator_tasks (id, queue, priority, run_at, created_at, expires_at, status,
                         func, unique_key, tags)
    select m.id, m.queue, m.priority,
           greatest(now(), coalesce(to_timestamp(m.run_at), now()
                                    + make_interval(secs => m.delay))),
           now(),
           coalesce(to_timestamp(m.expires_at), now()
                    + make_interval(secs => m.expires_in)),
           m.status, m.func, m.unique_key, m.tags
      from unnest(cast(%(ids)s as uuid[]), cast(%(queues)s as text[]),
                  cast(%(priorities)s as smallint[]), cast(%(delays)s as float8[]),
                  cast(%(run_ats)s as float8[]), cast(%(expires_ins)s as float8[]),
                  cast(%(expires_ats)s as float8[]), cast(%(statuses)s as smallint[]),
                  cast(%(funcs)s as text[]), cast(%(unique_keys)s as text[]),
                  cast(%(tags)s as text[]))
           with ordinality
           as m(id, queue, priority, delay, run_at, expires_in, expires_at, status,
                func, unique_key, tags, place)
     where not exists (select 1 from alligator_payloads p where p.id = m.id)
     order by m.place
    on conflict do nothing
    returning id
),
kept as (
    insert into alligator_payloads (id, payload)
    select m.id, m.payload
      from unnest(cast(%(ids)s as uuid[]), cast(%(payloads)s as text[])) as m(id, payload)
     where m.id = any(array(select id from new))
    on conflict do nothing
    returning id
)
select id, id in (select id from kept),
       case when cast(%(channel)s as text) is not null
            then cast(pg_notify(%(channel)s, '') as text) end
  from new;

-- forget_again
delete from alligator_tasks
 where id = any(cast(%(ids)s as uuid[])) and status + 0 in (0, 3, 4);

-- priorities
with recursive found(queue, priority) as (
    select q.value, (select max(priority) from alligator_tasks where queue = q.value)
      from unnest(cast(%(queues)s as text[])) as q(value)
    union all
    select found.queue, (select max(priority) from alligator_tasks
                          where queue = found.queue and priority < found.priority)
      from found where found.priority is not null
)
select queue, priority from found where priority is not null;

-- claim
with pick as materialized (
    select x.spot
      from unnest(cast(%(queues)s as text[]), cast(%(priorities)s as smallint[]),
                  cast(%(mark_run_ats)s as float8[]), cast(%(mark_ids)s as uuid[]))
           as m(queue, priority, run_at, id)
     cross join lateral (
           select ctid as spot from alligator_tasks
            where queue = m.queue and priority = m.priority and run_at <= now()
              and (run_at, id) >= (to_timestamp(m.run_at), m.id)
              and status in (0, 3, 4)
              and exists (select 1 from alligator_workers
                           where id = %(worker)s and expires_at > now())
            order by run_at, id
            limit (select cast(%(limit)s as bigint))
              for no key update skip locked) x
     where (select paused_at from alligator_queues where name = m.queue) is null
     limit %(limit)s
),
held as (
    update alligator_tasks
       set status = 6, attempts = attempts + 1, lease = lease + 1,
           worker_id = %(worker)s,
           started_at = case when cast(%(begins)s as boolean) and not suspect
                             then now() end
     where ctid = any(array(select spot from pick))
    returning *
)
select id, queue, func, lease, attempts, crashes,
       (select p.payload from alligator_payloads p where p.id = held.id),
       cast(extract(epoch from now()) - extract(epoch from created_at) as float8),
       cast(extract(epoch from expires_at) - extract(epoch from now()) as float8),
       suspect, priority, cast(extract(epoch from run_at) as float8)
  from held
 order by priority desc, run_at, id;

-- claim_one
with held as (
    update alligator_tasks
       set status = 6, attempts = attempts + 1, lease = lease + 1,
           worker_id = %(worker)s, started_at = now(), suspect = false
     where id = any(array(select id from alligator_tasks
                           where id = %(id)s and status + 0 in (0, 3, 4)
                             for no key update skip locked))
    returning *
)
select id, queue, func, lease, attempts, crashes,
       (select p.payload from alligator_payloads p where p.id = held.id),
       cast(extract(epoch from now()) - extract(epoch from created_at) as float8),
       cast(extract(epoch from expires_at) - extract(epoch from now()) as float8),
       suspect
  from held;

-- begin
update alligator_tasks
   set started_at = now(), suspect = false
 where id = any(cast(%(ids)s as uuid[])) and status + 0 = 6 and worker_id = %(worker)s
   and lease = (cast(%(leases)s as bigint[]))[width_bucket(id, cast(%(ids)s as uuid[]))]
returning id;

-- end
with gone as (
    delete from alligator_tasks
     where id = any(cast(%(ids)s as uuid[])) and status + 0 = 6 and worker_id = %(worker)s
       and lease = (cast(%(leases)s as bigint[]))[width_bucket(id, cast(%(ids)s as uuid[]))]
    returning id, queue, func, priority, attempts, crashes, created_at, run_at,
              started_at, worker_id, unique_key, tags, lease,
              width_bucket(id, cast(%(ids)s as uuid[])) as place
),
kept as (
    insert into alligator_finished (id, queue, func, priority, attempts, crashes, created_at,
                            run_at, started_at, worker_id, unique_key, tags, lease,
                            status, reason, finished_at)
    select id, queue, func, priority,
           attempts - (cast(%(refunds)s as smallint[]))[place], crashes, created_at,
           run_at,
           coalesce(now() - make_interval(secs => (cast(%(ages)s as float8[]))[place]
                                          + (cast(%(seconds)s as float8[]))[place]),
                    started_at),
           worker_id, unique_key, tags,
           case when (cast(%(statuses)s as smallint[]))[place] <> 1 then lease end,
           (cast(%(statuses)s as smallint[]))[place], (cast(%(reasons)s as text[]))[place],
           now() - make_interval(secs => (cast(%(ages)s as float8[]))[place])
      from gone
     where (select f.id from alligator_finished f where f.id = gone.id) is null
)
select id from gone;

-- complete
with gone as (
    delete from alligator_tasks
     where id = any(cast(%(ids)s as uuid[])) and status + 0 = 6 and worker_id = %(worker)s
       and lease = (cast(%(leases)s as bigint[]))[width_bucket(id, cast(%(ids)s as uuid[]))]
       and exists (select 1 from alligator_workers
                    where id = %(worker)s and expires_at > clock_timestamp())
    returning id, queue, func, priority, attempts, crashes, created_at, run_at,
              started_at, worker_id, unique_key, tags, lease,
              width_bucket(id, cast(%(ids)s as uuid[])) as place
),
kept as (
    insert into alligator_finished (id, queue, func, priority, attempts, crashes, created_at,
                            run_at, started_at, worker_id, unique_key, tags, lease,
                            status, reason, finished_at)
    select id, queue, func, priority,
           attempts - (cast(%(refunds)s as smallint[]))[place], crashes, created_at,
           run_at,
           coalesce(clock_timestamp() - make_interval(secs => (cast(%(ages)s as float8[]))[place]
                                          + (cast(%(seconds)s as float8[]))[place]),
                    started_at),
           worker_id, unique_key, tags,
           case when (cast(%(statuses)s as smallint[]))[place] <> 1 then lease end,
           (cast(%(statuses)s as smallint[]))[place], (cast(%(reasons)s as text[]))[place],
           clock_timestamp() - make_interval(secs => (cast(%(ages)s as float8[]))[place])
      from gone
     where (select f.id from alligator_finished f where f.id = gone.id) is null
)
select id from gone;

-- put_back
update alligator_tasks
   set status = (cast(%(statuses)s as smallint[]))[width_bucket(id, cast(%(ids)s as uuid[]))],
       attempts = attempts
           - (cast(%(refunds)s as smallint[]))[width_bucket(id, cast(%(ids)s as uuid[]))],
       run_at = coalesce(now() + make_interval(secs =>
           (cast(%(delays)s as float8[]))[width_bucket(id, cast(%(ids)s as uuid[]))]), run_at),
       suspect = coalesce((cast(%(suspects)s as boolean[]))[width_bucket(id, cast(%(ids)s as
           uuid[]))], suspect),
       worker_id = null, started_at = null, progress = null, progress_message = null
 where id = any(cast(%(ids)s as uuid[])) and status + 0 = 6 and worker_id = %(worker)s
   and lease = (cast(%(leases)s as bigint[]))[width_bucket(id, cast(%(ids)s as uuid[]))]
   and canceled_at is null
returning id;

-- canceled
select id from alligator_tasks
 where id = any(cast(%(ids)s as uuid[])) and status + 0 = 6 and worker_id = %(worker)s
   and canceled_at is not null;

-- report
update alligator_tasks
   set progress = (cast(%(percents)s as float8[]))[width_bucket(id, cast(%(ids)s as uuid[]))],
       progress_message = (cast(%(messages)s as text[]))[width_bucket(id, cast(%(ids)s as uuid[]))]
 where id = any(array(select id from alligator_tasks
                       where id = any(cast(%(ids)s as uuid[])) and status + 0 = 6 and worker_id =
                           %(worker)s
                         for no key update skip locked));


-- alligator_sql.backends.sql.statements

-- join_worker
INSERT INTO alligator_workers (id, expires_at, started_at, pid, host, queues) VALUES
    (%(worker)s::UUID, now() + make_interval(secs => %(ttl)s), now(), %(pid)s::INTEGER,
    %(host)s::VARCHAR, %(queues)s::VARCHAR);

-- heartbeat
UPDATE alligator_workers SET expires_at=now() + make_interval(secs => %(ttl)s) WHERE
    alligator_workers.id = %(worker)s::UUID AND alligator_workers.expires_at > now();

-- expire_worker
UPDATE alligator_workers SET expires_at=now() WHERE alligator_workers.id = %(worker)s::UUID;

-- remove_worker
DELETE FROM alligator_workers WHERE alligator_workers.id = %(worker)s::UUID;

-- length
SELECT count(*) AS count_1
FROM alligator_tasks
WHERE alligator_tasks.queue = %(queue)s::VARCHAR AND alligator_tasks.status IN (… status_1 …);

-- waiting_ids
SELECT alligator_tasks.id
FROM alligator_tasks
WHERE alligator_tasks.queue = %(queue)s::VARCHAR AND alligator_tasks.status IN (… status_1 …) ORDER
    BY alligator_tasks.id FOR UPDATE;

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
FROM unnest(cast(%(queues)s as text[])) as q(value) UNION ALL SELECT found.queue AS queue, (SELECT
    max(alligator_tasks.priority) AS max_2
FROM alligator_tasks
WHERE alligator_tasks.queue = found.queue AND alligator_tasks.priority < found.priority) AS anon_1
FROM found
WHERE found.priority IS NOT NULL)
 SELECT min((SELECT min(alligator_tasks.run_at) AS min_2
FROM alligator_tasks
WHERE alligator_tasks.queue = found.queue AND alligator_tasks.priority = found.priority AND
    alligator_tasks.run_at > now() AND alligator_tasks.run_at <= now() + make_interval(secs =>
    %(horizon)s) AND alligator_tasks.status IN (… status_1 …))) AS min_1, now()
FROM found
WHERE (SELECT alligator_queues.paused_at
FROM alligator_queues
WHERE alligator_queues.name = found.queue) IS NULL;

-- is_paused
SELECT EXISTS (SELECT *
FROM alligator_queues
WHERE alligator_queues.name = %(queue)s::VARCHAR AND alligator_queues.paused_at IS NOT NULL) AS
    anon_1;

-- pause
INSERT INTO alligator_queues (name, paused_at) VALUES (%(queue)s::VARCHAR, now()) ON CONFLICT (name)
    DO UPDATE SET paused_at = coalesce(alligator_queues.paused_at, excluded.paused_at);

-- resume
UPDATE alligator_queues SET paused_at=NULL WHERE alligator_queues.name = %(queue)s::VARCHAR AND
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
WHERE alligator_tasks.id = %(id)s::UUID AND alligator_tasks.status IN (… status_1 …) FOR UPDATE OF
    alligator_tasks;

-- mark_canceled
UPDATE alligator_tasks SET canceled_at=coalesce(alligator_tasks.canceled_at, now()) WHERE
    alligator_tasks.id = %(task_id)s::UUID;

-- add_finished
INSERT INTO alligator_finished (id, run_at, created_at, finished_at, started_at, attempts, priority,
    status, crashes, queue, func, worker_id, unique_key, tags, reason, lease) VALUES (%(id)s::UUID,
    %(run_at)s::TIMESTAMP WITH TIME ZONE, %(created_at)s::TIMESTAMP WITH TIME ZONE, now(),
    %(started_at)s::TIMESTAMP WITH TIME ZONE, %(attempts)s::INTEGER, %(priority)s::SMALLINT,
    %(status)s::SMALLINT, %(crashes)s::SMALLINT, %(queue)s::VARCHAR, %(func)s::VARCHAR,
    %(worker_id)s::UUID, %(unique_key)s::VARCHAR, %(tags)s::VARCHAR, %(reason)s::VARCHAR,
    %(lease)s::BIGINT) ON CONFLICT DO NOTHING;

-- revive
INSERT INTO alligator_tasks (id, created_at, priority, queue, func, unique_key, tags, lease, run_at,
    status) SELECT alligator_finished.id, alligator_finished.created_at,
    alligator_finished.priority, alligator_finished.queue, alligator_finished.func,
    alligator_finished.unique_key, alligator_finished.tags, coalesce(alligator_finished.lease,
    %(coalesce_2)s::INTEGER) AS coalesce_1, now(), 0
FROM alligator_finished
WHERE alligator_finished.id = %(id)s::UUID AND alligator_finished.status IN (… status_1 …) FOR
    UPDATE ON CONFLICT DO NOTHING RETURNING alligator_tasks.queue;

-- delete_finished
DELETE FROM alligator_finished WHERE alligator_finished.id = %(id)s::UUID;

-- live_task
SELECT alligator_tasks.id, alligator_tasks.run_at, alligator_tasks.created_at,
    alligator_tasks.expires_at, alligator_tasks.started_at, alligator_tasks.worker_id,
    alligator_tasks.attempts, alligator_tasks.status, alligator_tasks.crashes,
    alligator_tasks.lease, alligator_tasks.priority, alligator_tasks.queue, alligator_tasks.func,
    alligator_tasks.unique_key, alligator_tasks.tags, alligator_tasks.suspect,
    alligator_tasks.canceled_at, alligator_tasks.progress, alligator_tasks.progress_message
FROM alligator_tasks
WHERE alligator_tasks.id = %(id)s::UUID;

-- ended_task
SELECT alligator_finished.id, alligator_finished.run_at, alligator_finished.created_at,
    alligator_finished.finished_at, alligator_finished.started_at, alligator_finished.attempts,
    alligator_finished.priority, alligator_finished.status, alligator_finished.crashes,
    alligator_finished.queue, alligator_finished.func, alligator_finished.worker_id,
    alligator_finished.unique_key, alligator_finished.tags, alligator_finished.reason,
    alligator_finished.lease
FROM alligator_finished
WHERE alligator_finished.id = %(id)s::UUID;

-- last_error
SELECT alligator_errors.task_id, alligator_errors.lease, alligator_errors.at,
    alligator_errors.attempt, alligator_errors.kind, alligator_errors.message,
    alligator_errors.traceback
FROM alligator_errors
WHERE alligator_errors.task_id = %(id)s::UUID ORDER BY alligator_errors.lease DESC
 LIMIT %(param_1)s::INTEGER;

-- result
SELECT alligator_results.id, alligator_results.result, alligator_results.problem
FROM alligator_results
WHERE alligator_results.id = %(id)s::UUID;

-- add_error
INSERT INTO alligator_errors (task_id, lease, at, attempt, kind, message, traceback) VALUES
    (%(task_id)s::UUID, %(lease)s::BIGINT, now(), %(attempt)s::INTEGER, %(kind)s::VARCHAR,
    %(message)s::VARCHAR, %(traceback)s::VARCHAR) ON CONFLICT DO NOTHING;

-- add_result
insert into alligator_results (id, result, problem) values (%(id)s, %(result)s, %(problem)s) on
    conflict do nothing;

-- rewrite_payload
UPDATE alligator_payloads SET payload=%(new_payload)s::VARCHAR WHERE alligator_payloads.id =
    %(task_id)s::UUID;

-- dead_workers
SELECT alligator_workers.id, alligator_workers.host, alligator_workers.pid
FROM alligator_workers
WHERE alligator_workers.expires_at <= now() ORDER BY alligator_workers.id FOR UPDATE SKIP LOCKED;

-- orphans
SELECT alligator_tasks.id, alligator_tasks.lease, alligator_tasks.attempts, alligator_tasks.crashes,
    alligator_tasks.worker_id, alligator_tasks.started_at, alligator_tasks.canceled_at
FROM alligator_tasks
WHERE alligator_tasks.status = %(status_1)s::SMALLINT AND alligator_tasks.worker_id IN (… workers …)
    ORDER BY alligator_tasks.id FOR UPDATE SKIP LOCKED;

-- strays
SELECT alligator_tasks.id, alligator_tasks.lease, alligator_tasks.attempts, alligator_tasks.crashes,
    alligator_tasks.worker_id, alligator_tasks.started_at, alligator_tasks.canceled_at
FROM alligator_tasks
WHERE alligator_tasks.status = %(status_1)s::SMALLINT AND NOT (EXISTS (SELECT alligator_workers.id
FROM alligator_workers
WHERE alligator_workers.id = alligator_tasks.worker_id)) ORDER BY alligator_tasks.id FOR UPDATE OF
    alligator_tasks SKIP LOCKED;

-- count_crash
UPDATE alligator_tasks SET crashes=(alligator_tasks.crashes + %(crashes_1)s::SMALLINT) WHERE
    alligator_tasks.id IN (… ids …);

-- remove_workers
DELETE FROM alligator_workers WHERE alligator_workers.id IN (… ids …) AND NOT (EXISTS (SELECT
    alligator_tasks.id
FROM alligator_tasks
WHERE alligator_tasks.worker_id = alligator_workers.id AND alligator_tasks.status =
    %(status_1)s::SMALLINT));

-- old_successes
SELECT alligator_finished.id
FROM alligator_finished
WHERE alligator_finished.status = %(status_1)s::SMALLINT AND alligator_finished.finished_at < now()
    + make_interval(secs => %(minus_keep)s) ORDER BY alligator_finished.finished_at
 LIMIT %(batch)s FOR UPDATE SKIP LOCKED;

-- old_failures
SELECT alligator_finished.id
FROM alligator_finished
WHERE alligator_finished.status != %(status_1)s::SMALLINT AND alligator_finished.finished_at < now()
    + make_interval(secs => %(minus_keep)s) ORDER BY alligator_finished.finished_at
 LIMIT %(batch)s FOR UPDATE SKIP LOCKED;

-- forget 1
DELETE FROM alligator_results WHERE alligator_results.id IN (… ids …);

-- forget 2
DELETE FROM alligator_errors WHERE alligator_errors.task_id IN (… ids …);

-- forget 3
DELETE FROM alligator_payloads WHERE alligator_payloads.id IN (… ids …);

-- forget 4
DELETE FROM alligator_finished WHERE alligator_finished.id IN (… ids …);
