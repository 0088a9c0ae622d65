// Package table contains the rules of the table of shards: who may work on a shard, and
// who may write an entry. The package starts no goroutine, reads no clock and sends no
// request. The group in package sharding and the model in package model call the same
// functions.
package table
