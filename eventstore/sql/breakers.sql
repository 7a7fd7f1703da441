-- Circuit breakers, shared by all workers: a row for each target that has failed at least once.

create table breakers (
    -- 'shared', or the client account that has the target to itself
    scope text not null,
    target text not null,
    state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
    failures int not null default 0,
    counted_from timestamptz,
    last_class text,
    last_failure_at timestamptz,
    -- why it was opened: failures, or rate_limited
    reason text,
    -- times it was opened in a row, which the back-off grows with, and ever
    openings int not null default 0,
    openings_ever bigint not null default 0,
    open_until timestamptz,
    probe uuid,
    probe_until timestamptz,
    opened_at timestamptz,
    closed_at timestamptz,
    changed_by text,
    changed_at timestamptz not null,
    primary key (scope, target)
) with (fillfactor = 70, autovacuum_vacuum_threshold = 50);
create index breakers_state_idx on breakers (state) where state <> 'closed';

-- Counts a failure and says how the target stands after it. It opens at `b_threshold` failures within `b_window` seconds, or
-- when the failure is that of the probe under way; each opening in a row doubles the time, up to `b_most` seconds. What
-- began before the target was opened changes nothing.
create function breaker_failed(
    b_scope text, b_target text, b_probe uuid, b_class text, b_threshold int,
    b_window double precision, b_first double precision, b_most double precision
) returns table (state text, failures int, opened boolean, seconds double precision)
language plpgsql as $breaker$
#variable_conflict use_column
declare
    at_time timestamptz := mfo_now();
    b breakers;
    opens boolean;
begin
    insert into breakers (scope, target, changed_at) values (b_scope, b_target, at_time) on conflict do nothing;
    select * into b from breakers where scope = b_scope and target = b_target for update;
    if b.counted_from is null or b.counted_from <= at_time - make_interval(secs => b_window) or b.counted_from > at_time then
        b.counted_from := at_time;
        b.failures := 0;
    end if;
    b.failures := b.failures + 1;
    opens := case b.state when 'closed' then b.failures >= b_threshold when 'half_open' then b.probe = b_probe else false end;
    opens := coalesce(opens, false);
    if opens then
        b.openings := b.openings + 1;
        b.state := 'open';
        b.reason := 'failures';
        b.open_until := at_time
            + make_interval(secs => least(b_first * power(2::double precision, least(b.openings - 1, 30)), b_most));
    end if;
    update breakers set
        state = b.state, failures = b.failures, counted_from = b.counted_from, last_class = b_class, last_failure_at = at_time,
        reason = b.reason, openings = b.openings, open_until = b.open_until,
        openings_ever = openings_ever + opens::int, opened_at = case when opens then at_time else opened_at end,
        probe = case when opens then null else probe end, probe_until = case when opens then null else probe_until end,
        changed_by = case when opens then null else changed_by end, changed_at = at_time
    where scope = b_scope and target = b_target;
    return query select b.state, b.failures, opens,
        case when b.state = 'open' then extract(epoch from b.open_until - at_time)::double precision end;
end
$breaker$;
