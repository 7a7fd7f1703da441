-- How long a projection gathers events between two batches, in seconds.

alter table projections add column patience double precision not null default 0;
