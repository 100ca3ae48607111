/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FJORD_FJORD_H
#define FJORD_FJORD_H
/* All of Fjord's public API. */
#include <fjord/access.h>
#include <fjord/await.h>
#include <fjord/backdoor.h>
#include <fjord/base.h>
#include <fjord/client.h>
#include <fjord/clock.h>
#include <fjord/conf.h>
#include <fjord/dispatcher.h>
#include <fjord/driver.h>
#include <fjord/endpoint.h>
#include <fjord/error.h>
#include <fjord/executor.h>
#include <fjord/fake.h>
#include <fjord/future.h>
#include <fjord/green.h>
#include <fjord/group.h>
#include <fjord/host.h>
#include <fjord/inspect.h>
#include <fjord/interceptor.h>
#include <fjord/json.h>
#include <fjord/log.h>
#include <fjord/loop.h>
#include <fjord/original.h>
#include <fjord/queue.h>
#include <fjord/serializer.h>
#include <fjord/server.h>
#include <fjord/service.h>
#include <fjord/sync.h>
#include <fjord/target.h>
#include <fjord/task.h>
#include <fjord/transport.h>
#include <fjord/url.h>
#include <fjord/watch.h>
#endif
