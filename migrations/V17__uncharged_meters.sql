-- A meter may be measured and not charged. Which meters are is fixed by a snapshot, as prices are (docs/decisions/048).

CREATE TABLE uncharged_meter (
    meter_key bigint NOT NULL REFERENCES meter,
    applied_at timestamptz NOT NULL,
    superseded_at timestamptz CHECK (superseded_at > applied_at),
    PRIMARY KEY (meter_key, applied_at)
);
CREATE UNIQUE INDEX uncharged_meter_in_force ON uncharged_meter (meter_key) WHERE superseded_at IS NULL;
COMMENT ON TABLE uncharged_meter IS
    'Intervals of the publication clock in which a meter is not charged: its usage is measured and shown, and costs nothing. A meter without a row that is in force is charged.';
COMMENT ON COLUMN uncharged_meter.meter_key IS 'What is not charged.';
COMMENT ON COLUMN uncharged_meter.applied_at IS 'When that was published, by the publication clock; inclusive.';
COMMENT ON COLUMN uncharged_meter.superseded_at IS 'When it was published that the meter is charged again; null: in force.';

-- The order of lists of organizations.
CREATE INDEX organization_order ON organization (name, organization_id);

CREATE OR REPLACE FUNCTION bring_back_publication_clock() RETURNS timestamptz
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    present timestamptz;
    before timestamptz[];
BEGIN
    -- A purge compares moments. Its lock, and the publish lock (src/store/locks.rs).
    PERFORM pg_advisory_xact_lock(x'0053435200000004'::bigint);
    PERFORM pg_advisory_xact_lock(x'0053435200000001'::bigint);
    present := clock_timestamp();
    -- In order, so that what superseded another thing still does.
    before := ARRAY(
        SELECT published_at FROM usage_import WHERE published_at > present
        UNION SELECT published_at FROM usage_load WHERE published_at > present
        UNION SELECT published_at FROM usage_month WHERE published_at > present
        UNION SELECT applied_at FROM price WHERE applied_at > present
        UNION SELECT superseded_at FROM price WHERE superseded_at > present
        UNION SELECT applied_at FROM uncharged_meter WHERE applied_at > present
        UNION SELECT superseded_at FROM uncharged_meter WHERE superseded_at > present
        ORDER BY 1
    );
    UPDATE usage_import SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    UPDATE usage_load SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    -- The totals refer to the months, so these are there twice for a moment.
    INSERT INTO usage_month (tenant_key, usage_month, published_at, revision)
    SELECT tenant_key, usage_month, present + array_position(before, published_at) * interval '1 microsecond', revision
    FROM usage_month WHERE published_at = ANY (before);
    UPDATE usage_month_total SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at = ANY (before);
    DELETE FROM usage_month WHERE published_at = ANY (before);
    UPDATE price SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
                     superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond',
                                              superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    UPDATE uncharged_meter
    SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
        superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond', superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    UPDATE publication_clock SET last_published_at = present + cardinality(before) * interval '1 microsecond'
    WHERE last_published_at > present;
    RETURN (SELECT last_published_at FROM publication_clock);
END
$$;
COMMENT ON TABLE publication_clock IS
    'Orders publications of loads, of prices and of what is charged. Publishing holds an advisory lock, moves the clock on by at least a microsecond, and commits: so nothing ever appears at or before a moment that the clock has shown.';
