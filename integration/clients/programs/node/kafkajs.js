// kafkajs, with the command line that all client programs share (../README.md). It writes the plain shape only, and it
// cannot consume without a group, so there is no consume.
'use strict'

const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const partitions = 3
const chunk = 2000 // records of one send

const pattern = (() => {
  const p = Buffer.alloc(64 << 10)
  let y = 12345
  for (let i = 0; i < p.length; i++) {
    y = (Math.imul(y, 1664525) + 1013904223) >>> 0
    p[i] = 'a'.charCodeAt(0) + (y >>> 24) % 26
  }
  return p
})()

// record returns record i of the plain shape (../go/record/record.go says the same in Go).
function record (i, seed) {
  let x = (Math.imul(i + 1, 2654435761) + Math.imul(seed, 40503)) >>> 0
  x = (x ^ x >>> 15) >>> 0
  x = Math.imul(x, 2246822519) >>> 0
  x = (x ^ x >>> 13) >>> 0
  const length = i % 5000 === 4999 ? 50000 : x % 200
  const from = (x >>> 8) % 1009
  return {
    partition: i % partitions,
    key: `key-${x % 1000}`,
    value: i % 11 === 3 ? null : Buffer.concat([Buffer.from(`${i} `), pattern.subarray(from, from + length)]),
    headers: { client: 'kcat', n: '1' }
  }
}

async function produce (kafka, task) {
  const [topic, records, seed, shape, codec, idempotent] = task.split(':')
  if (shape !== 'plain') throw new Error(`kafkajs can't write the shape ${shape}`)
  const compression = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP }[codec]
  if (compression === undefined) throw new Error(`kafkajs has no codec ${codec} of its own`)
  const producer = kafka.producer({ idempotent: idempotent === 'true', maxInFlightRequests: 1 })
  await producer.connect()
  try {
    for (let from = 0; from < Number(records); from += chunk) {
      const messages = []
      for (let i = from; i < Math.min(from + chunk, Number(records)); i++) messages.push(record(i, Number(seed)))
      for (const r of await producer.send({ topic, acks: -1, compression, messages })) {
        const want = Math.ceil((from - r.partition) / partitions)
        if (Number(r.baseOffset) !== want) throw new Error(`partition ${r.partition}: got offset ${r.baseOffset}, want ${want}`)
      }
    }
  } finally {
    await producer.disconnect()
  }
}

async function admin (kafka, topic) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const configEntries = [{ name: 'retention.ms', value: '3600000' }]
    if (!await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions, configEntries }] })) {
      throw new Error('the topic was there already')
    }
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    if (topics[0].partitions.length !== partitions) throw new Error(`${topics[0].partitions.length} partitions`)
    const offsets = await admin.fetchTopicOffsets(topic)
    if (offsets.length !== partitions || offsets.some(o => o.high !== '0')) throw new Error(`offsets ${JSON.stringify(offsets)}`)
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }] })
    if (resources[0].configEntries[0].configValue !== '3600000') throw new Error(`configs ${JSON.stringify(resources)}`)
    await admin.describeCluster()
    await admin.deleteTopics({ topics: [topic] })
  } finally {
    await admin.disconnect()
  }
}

async function main () {
  const [verb, bootstrap, ...args] = process.argv.slice(2)
  const run = { produce, admin }[verb]
  if (!run) throw new Error(`no such command: ${verb}`)
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR })
  for (const arg of args) {
    try {
      await run(kafka, arg)
      console.log('ok', arg)
    } catch (e) {
      console.log('FAIL', arg, e.message)
      process.exitCode = 1
    }
  }
}

main().catch(e => {
  console.error(e.message)
  process.exitCode = 2
})
