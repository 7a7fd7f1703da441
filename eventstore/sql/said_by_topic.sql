-- A notice about the log names the topics of what was appended, so that whoever waits for some of them sleeps through the rest.

-- the schema and the topics, each once, parted by blanks
create function said_of(topics text[]) returns text language plpgsql stable as $$
declare
    said text := current_schema();
    topic text;
begin
    foreach topic in array topics loop
        -- no topic is part of another
        if strpos(said, topic) = 0 then
            said := said || ' ' || topic;
        end if;
    end loop;
    return said;
end
$$;

do $alter$
declare
    before text := (select pg_get_functiondef(oid) from pg_proc
                    where proname = 'append_group' and pronamespace = current_schema()::regnamespace);
    after text := replace(before, $old$pg_notify('mfo_events', current_schema())$old$, $new$pg_notify('mfo_events', said_of(e_topic))$new$);
begin
    assert after <> before, 'append_group does not say what it is to say otherwise';
    execute after;
end
$alter$;
