-- What phases brought that may be brought again: by the key of all that it follows from, the newest run that had it.

create table results (
    client_account_id uuid not null,
    engagement_id uuid not null,
    -- SHA-256 over flow type, phase, handlers with their versions, inputs, outputs of earlier phases and files
    key bytea not null,
    flow_id uuid not null,
    -- it counts once the flow's history says that this run completed
    run_id uuid not null,
    flow_type text not null,
    phase_name text not null,
    -- of the handlers, as an event holds them: large members are artifacts, nothing is sealed; json keeps each number as it is
    outputs json not null,
    kept_at timestamptz not null,
    used_at timestamptz not null,
    primary key (client_account_id, engagement_id, key)
);
create index results_used_at_idx on results (used_at);
