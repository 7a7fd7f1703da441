-- Commands that wait behind a parked flow.

select 1;
