import { writeFileSync } from 'node:fs';
import { freePort } from '@causeway/etcd/testing';
import { connect } from 'amqplib';
import { Program, Scratch } from '../../../../testing/process.ts';

/** A private RabbitMQ on loopback, with its Erlang port mapper. */
export class Rabbit implements AsyncDisposable {
  /** host:port */
  readonly host: string;
  readonly #scratch: Scratch;
  readonly #program: Program;

  private constructor(host: string, scratch: Scratch, program: Program) {
    this.host = host;
    this.#scratch = scratch;
    this.#program = program;
  }

  /** As oslo.messaging wants it. */
  get transport(): string {
    return `rabbit://guest:guest@${this.host}/`;
  }

  static async start(): Promise<Rabbit> {
    const scratch = new Scratch('rabbit');
    const [port, distribution, mapper] = [await freePort(), await freePort(), await freePort()];
    writeFileSync(scratch.file('plugins'), '[].');
    const program = new Program(
      'rabbitmq-server',
      scratch,
      ['/usr/lib/rabbitmq/bin/rabbitmq-server'],
      {
        env: {
          HOME: scratch.path,
          ERL_EPMD_PORT: String(mapper),
          ERL_EPMD_ADDRESS: '127.0.0.1',
          RABBITMQ_NODENAME: `causeway-${process.pid}@localhost`,
          RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
          RABBITMQ_NODE_PORT: String(port),
          RABBITMQ_DIST_PORT: String(distribution),
          RABBITMQ_MNESIA_BASE: scratch.file('mnesia'),
          RABBITMQ_LOG_BASE: scratch.file('log'),
          RABBITMQ_PID_FILE: scratch.file('pid'),
          RABBITMQ_CONFIG_FILE: scratch.file('rabbitmq'),
          RABBITMQ_ADVANCED_CONFIG_FILE: scratch.file('advanced'),
          RABBITMQ_CONF_ENV_FILE: scratch.file('env'),
          RABBITMQ_ENABLED_PLUGINS_FILE: scratch.file('plugins'),
          RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
        },
      },
    );
    const rabbit = new Rabbit(`127.0.0.1:${port}`, scratch, program);
    try {
      await program.ready(async () => {
        const model = await connect(`amqp://guest:guest@${rabbit.host}/`);
        await model.close();
        return true;
      });
    } catch (error) {
      await rabbit[Symbol.asyncDispose]();
      throw error;
    }
    return rabbit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
