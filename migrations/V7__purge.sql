-- Loads whose records are no longer kept. What they add up to stays, so that bills can be shown for ever.

ALTER TABLE usage_load ADD COLUMN records_purged_at timestamptz;
COMMENT ON COLUMN usage_load.records_purged_at IS
    'When `purge` deleted its records, or began to; null: they are there. The only column that ever changes.';
COMMENT ON TABLE usage_load IS
    'One tenant''s usage of one UTC day from one source, as delivered once. Published whole, in one transaction, and never changed, though its records may be purged; the newest load of a day and source is in force.';
COMMENT ON VIEW detailed_usage_report IS
    'The detailed usage report for people with SQL: the loads in force, under the report''s column names. Months that were purged are not there.';
