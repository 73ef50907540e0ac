// kafkajs in a consumer group (../../README.md says what a member and groups do).
'use strict'

const { Kafka, logLevel } = require('kafkajs')

const patience = 120000 // milliseconds

function consumerOf (kafka, group) {
  return kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 100 })
}

// member takes part until the end of its input, committing after every batch.
async function member (kafka, [topic, , group]) {
  const consumer = consumerOf(kafka, group)
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const crash = new Promise((resolve, reject) => consumer.on(consumer.events.CRASH, e => {
    if (!e.payload.restart) reject(e.payload.error)
  }))
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, isRunning, isStale }) => {
      for (let i = 0; i < batch.messages.length && isRunning() && !isStale(); i += 50) {
        const some = batch.messages.slice(i, i + 50)
        for (const m of some) console.log('got', batch.partition, m.offset)
        const last = some[some.length - 1].offset
        const offset = String(BigInt(last) + 1n)
        await consumer.commitOffsets([{ topic, partition: batch.partition, offset }])
        resolveOffset(last)
        console.log('committed', batch.partition, offset)
      }
    }
  })
  await Promise.race([crash, new Promise(resolve => process.stdin.on('end', resolve).resume())])
  await consumer.disconnect()
}

// sought returns the first offset that is received after a seek.
async function sought (kafka, topic, group, partition, offset) {
  const consumer = consumerOf(kafka, group)
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  let found
  const first = new Promise((resolve, reject) => {
    found = resolve
    setTimeout(() => reject(new Error('no record that was sought in time')), patience).unref()
  })
  const joined = new Promise(resolve => consumer.on(consumer.events.GROUP_JOIN, resolve))
  let sought = false
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition: p, message }) => { if (sought && p === partition) found(message.offset) }
  })
  await joined
  consumer.seek({ topic, partition, offset })
  sought = true
  const got = await first
  await consumer.disconnect()
  return got
}

async function groups (kafka, [topic, partitions, group]) {
  const got = await sought(kafka, topic, group, 0, '10')
  if (got !== '10') throw new Error(`sought offset 10 and got ${got}`)
  const admin = kafka.admin()
  await admin.connect()
  try {
    const listed = async () => (await admin.listGroups()).groups.some(g => g.groupId === group)
    if (!await listed()) throw new Error('the group is not listed')
    const { groups: [described] } = await admin.describeGroups([group])
    if (described.state !== 'Empty') throw new Error(`the group is ${described.state}`)
    const offsets = async () => (await admin.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions
    if ((await offsets()).filter(p => p.offset !== '-1').length !== Number(partitions)) throw new Error('not every partition has an offset')
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '5' }] })
    const altered = (await offsets()).find(p => p.partition === 0).offset
    if (altered !== '5') throw new Error(`the altered offset is ${altered}`)
    await admin.deleteGroups([group])
    if (await listed()) throw new Error('the deleted group is listed')
  } finally {
    await admin.disconnect()
  }
}

async function main () {
  const [verb, bootstrap, arg] = process.argv.slice(2)
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR })
  try {
    await { member, groups }[verb](kafka, arg.split(':'))
    console.log('ok', arg)
  } catch (e) {
    console.log('FAIL', arg, e.message)
    process.exitCode = 1
  }
  process.stdin.unref?.()
}

main().catch(e => {
  console.error(e.message)
  process.exitCode = 2
})
