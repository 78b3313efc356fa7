//! The series as two Parquet tables: one row per scrape, and one per scrape and plugin.
//!
//! Numbers are 64-bit integers in delta encoding, which takes a byte or less for most values, so no
//! compression is needed on top. A column that lacks a value has a null.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::columns::{Column, Columns, START_SECONDS};
use crate::plan::Plan;

/// Writes `process.parquet`: `time`, `up`, the series of the process, and `leaking`.
pub(super) fn write_process(
    columns: &Columns,
    leaking: &[Vec<(u64, u64)>],
    file: &Path,
) -> Result<()> {
    let series: Vec<&Column> = [&columns.up].into_iter().chain(&columns.process).collect();
    let mut fields = vec![time_field()?];
    for column in &series {
        fields.push(number_field(column)?);
    }
    fields.push(flag_field("leaking")?);
    let mut writer = writer("process", fields, file)?;
    let mut group = writer.next_row_group()?;
    write_times(&mut group, &columns.times)?;
    for column in &series {
        write_numbers(&mut group, &column.values)?;
    }
    write_flags(&mut group, columns, &leaking.concat())?;
    group.close()?;
    writer.close().context("cannot finish the table")?;
    Ok(())
}

/// Writes `plugins.parquet`: `time`, `plugin`, the series of the plugin, and `leaking`. Each plugin
/// is a row group of its own.
pub(super) fn write_plugins(
    columns: &Columns,
    plan: &Plan,
    leaking: &[Vec<(u64, u64)>],
    file: &Path,
) -> Result<()> {
    let mut fields = vec![time_field()?, text_field("plugin")?];
    for column in columns.plugins.first().into_iter().flatten() {
        fields.push(number_field(column)?);
    }
    fields.push(flag_field("leaking")?);
    let mut writer = writer("plugins", fields, file)?;
    let plugins = plan.plugins.iter().zip(&columns.plugins).zip(leaking);
    for ((plugin, series), leaking) in plugins {
        let mut group = writer.next_row_group()?;
        write_times(&mut group, &columns.times)?;
        let name = ByteArray::from(plugin.plugin.as_bytes().to_vec());
        let names = vec![name; columns.times.len()];
        let mut column = next_column(&mut group)?;
        column
            .typed::<ByteArrayType>()
            .write_batch(&names, None, None)?;
        column.close()?;
        for one in series {
            write_numbers(&mut group, &one.values)?;
        }
        write_flags(&mut group, columns, leaking)?;
        group.close()?;
    }
    writer.close().context("cannot finish the table")?;
    Ok(())
}

fn writer(name: &str, fields: Vec<Type>, file: &Path) -> Result<SerializedFileWriter<File>> {
    let fields = fields.into_iter().map(Arc::new).collect();
    let schema = Type::group_type_builder(name).with_fields(fields).build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_created_by("leak-host dataset".to_owned())
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled("plugin".into(), true)
        .set_column_encoding("time".into(), Encoding::DELTA_BINARY_PACKED)
        .set_encoding(Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding("plugin".into(), Encoding::DELTA_BYTE_ARRAY)
        .set_column_encoding("leaking".into(), Encoding::RLE)
        .build();
    let out = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(SerializedFileWriter::new(
        out,
        Arc::new(schema),
        Arc::new(properties),
    )?)
}

fn time_field() -> Result<Type> {
    let time = LogicalType::timestamp(true, TimeUnit::MILLIS);
    Ok(Type::primitive_type_builder("time", Physical::INT64)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(time))
        .build()?)
}

fn text_field(name: &str) -> Result<Type> {
    Ok(Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::String))
        .build()?)
}

fn flag_field(name: &str) -> Result<Type> {
    Ok(Type::primitive_type_builder(name, Physical::BOOLEAN)
        .with_repetition(Repetition::REQUIRED)
        .build()?)
}

fn number_field(column: &Column) -> Result<Type> {
    Ok(
        Type::primitive_type_builder(&field_name(column), Physical::INT64)
            .with_repetition(Repetition::OPTIONAL)
            .build()?,
    )
}

/// The name of the metric and, if it has several series, the value of its label: such as
/// `leak_plugin_state_running`.
pub(super) fn field_name(column: &Column) -> String {
    let labels = column.labels.iter();
    let mut split = labels.filter(|(name, _)| matches!(*name, "state" | "outcome"));
    match split.next() {
        Some((_, value)) => format!("{}_{value}", column.name),
        None => column.name.to_owned(),
    }
}

fn next_column<'a>(
    group: &'a mut SerializedRowGroupWriter<'_, File>,
) -> Result<parquet::file::writer::SerializedColumnWriter<'a>> {
    let column = group.next_column()?;
    column.context("the table has fewer columns than values")
}

fn write_times(group: &mut SerializedRowGroupWriter<'_, File>, times: &[u64]) -> Result<()> {
    let times = times.iter().map(|time| Ok(i64::try_from(time * 1000)?));
    let times: Vec<i64> = times.collect::<Result<_>>()?;
    let mut column = next_column(group)?;
    column
        .typed::<Int64Type>()
        .write_batch(&times, None, None)?;
    Ok(column.close()?)
}

fn write_numbers(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[Option<u64>],
) -> Result<()> {
    let present = values
        .iter()
        .flatten()
        .map(|value| Ok(i64::try_from(*value)?));
    let present: Vec<i64> = present.collect::<Result<_>>()?;
    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
    let mut column = next_column(group)?;
    let typed = column.typed::<Int64Type>();
    typed.write_batch(&present, Some(&levels), None)?;
    Ok(column.close()?)
}

fn write_flags(
    group: &mut SerializedRowGroupWriter<'_, File>,
    columns: &Columns,
    leaking: &[(u64, u64)],
) -> Result<()> {
    let seconds = columns.times.iter().map(|time| time - START_SECONDS);
    let flags: Vec<bool> = seconds
        .map(|second| {
            leaking
                .iter()
                .any(|(from, until)| (*from..*until).contains(&second))
        })
        .collect();
    let mut column = next_column(group)?;
    column.typed::<BoolType>().write_batch(&flags, None, None)?;
    Ok(column.close()?)
}
