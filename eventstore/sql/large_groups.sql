-- Events, commands and runs of a group are joined with the decisions that won; the plan, which is made once, takes every group
-- for one of ten and would compare each with each. Look-ups in tables are laterals, by key as before.
do $alter$
begin
    execute (select format('alter function %s set enable_nestloop = off', oid::regprocedure) from pg_proc
             where proname = 'append_group' and pronamespace = current_schema()::regnamespace);
end
$alter$;
