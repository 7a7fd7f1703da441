-- How files are to be read, which mappings people approved, what is doubtful and what has changed since an earlier discovery.

-- as the caller gave them; none: everything is detected
alter table imports add column import_options jsonb;
-- more is understood now; whoever uploads the same bytes again is given the upload that is there
update imports set state = 'stored', summary = null, tries = 0, lease_until = null where state = 'unreadable';

alter table inventory_sets_v1 drop constraint inventory_sets_v1_kind_check;
alter table inventory_sets_v1 add constraint inventory_sets_v1_kind_check
    check (kind in ('assets', 'dependencies', 'issues', 'reviews', 'changes'));

-- pairs of assets, or single values, that a person should decide about
create table reviews_v1 (
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    phase_name text not null,
    n int not null,
    id text not null,
    kind text,
    document jsonb not null
);
create index reviews_v1_flow_idx on reviews_v1 (flow_id, n);
create index reviews_v1_tenant_idx on reviews_v1 (client_account_id, engagement_id);

-- what is new, gone or changed against an earlier inventory of the engagement
create table changes_v1 (
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    phase_name text not null,
    n int not null,
    id text not null,
    kind text,
    name text,
    document jsonb not null
);
create index changes_v1_flow_idx on changes_v1 (flow_id, n);
create index changes_v1_tenant_idx on changes_v1 (client_account_id, engagement_id);

create view reviews as select * from reviews_v1;
create view changes as select * from changes_v1;

-- what each flow took a column of a file for, and what a person said to it; the rows of a flow stand or fall together
create table import_field_mapping_sets_v1 (
    flow_id uuid primary key,
    version bigint not null,
    rows int not null
);
create table import_field_mappings_v1 (
    flow_id uuid not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    n int not null,
    source_file text not null,
    source_sheet text,
    source_field text not null,
    -- the field's name for comparison: lower case, one blank between words
    header_key text not null,
    -- which export the table is, such as rvtools.vinfo
    kind text not null,
    target_field text not null,
    unit text,
    match_type text not null,
    confidence double precision not null,
    status text not null check (status in ('suggested', 'approved', 'rejected')),
    suggested_by text not null check (suggested_by in ('mapper', 'user')),
    approved_by text,
    approved_at timestamptz,
    transformation_rules jsonb,
    primary key (flow_id, n)
);
create index import_field_mappings_v1_learned_idx
    on import_field_mappings_v1 (client_account_id, header_key) where status in ('approved', 'rejected');
create view import_field_mappings as select * from import_field_mappings_v1;
comment on view import_field_mappings is 'What each discovery took a column for; approved and rejected by a person, suggested where nobody was asked';

do $reader$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on reviews, changes, import_field_mappings to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$reader$;
